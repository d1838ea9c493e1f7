"""Corruptions: what each does in closed form, the same for the same seed, stronger with severity."""

import numpy as np
import pytest
from scipy import ndimage

from vitrail.data.corrupt.blur import displaced
from vitrail.data.corrupt.corruptions import CORRUPTIONS, corrupt
from vitrail.data.corrupt.filters import cloud, convolved, disk, streak, zoomed
from vitrail.errors import VitrailError


def picture(side=48, channels=3):
    """Soft shapes of many brightnesses, with edges."""
    rows, columns = np.indices((side, side)) / side
    planes = [(rows * 180 + 40), np.hypot(rows - 0.5, columns - 0.4) * 250, (columns > 0.5) * 120 + 60]
    return np.clip(np.stack(planes[:channels], axis=2), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_corruption_is_a_function_of_its_arguments(name):
    image = picture()
    before = image.copy()
    made = corrupt(image, name, 3, seed=5)
    assert made.shape == image.shape
    assert made.dtype == np.uint8
    assert np.array_equal(made, corrupt(image, name, 3, seed=5))
    assert np.array_equal(image, before)
    assert not np.array_equal(made, image)
    chance = {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"}
    assert np.array_equal(made, corrupt(image, name, 3, seed=6)) == (name in chance)


COLOURED = ("gaussian_noise", "shot_noise", "impulse_noise", "snow", "frost")
"""Corruptions that draw for each channel, or are of a colour; the others treat grey as three equal channels."""


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize(("height", "width", "channels"), [(8, 8, 1), (20, 33, 3), (9, 5, 1)])
def test_every_size_and_one_channel_go_through(name, height, width, channels):
    image = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    for severity in (1, 5):
        made = corrupt(image, name, severity)
        assert made.shape == image.shape
        if channels == 1 and name not in COLOURED:
            assert np.array_equal(made, corrupt(image.repeat(3, axis=2), name, severity)[:, :, :1])


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name != "elastic_transform"])
def test_severity_five_is_further_from_the_picture_than_one(name):
    # Of elastic_transform the published severities 1 and 2 shear, and 3 to 5 do not: they are no scale.
    image = picture(96)
    far = [
        np.mean([np.abs(corrupt(image, name, severity, seed).astype(float) - image).mean() for seed in range(4)])
        for severity in (1, 5)
    ]
    assert far[1] > far[0]


def test_noise_has_the_published_size():
    grey = np.full((200, 200, 3), 128, np.uint8)
    assert (corrupt(grey, "gaussian_noise", 2) / 255.0).std() == pytest.approx(0.12, rel=0.02)
    assert (corrupt(grey, "shot_noise", 1) / 255.0).var() == pytest.approx(128 / 255 / 60, rel=0.03)
    salted = corrupt(grey, "impulse_noise", 4)
    assert (salted == 0).mean() == pytest.approx(0.17 / 2, rel=0.05)
    assert (salted == 255).mean() == pytest.approx(0.17 / 2, rel=0.05)
    assert set(np.unique(salted)) == {0, 128, 255}


def test_contrast_and_brightness_in_closed_form():
    image = picture()
    mean = image.mean(axis=(0, 1), keepdims=True)
    assert np.abs(corrupt(image, "contrast", 2) - ((image - mean) * 0.3 + mean)).max() <= 0.51
    import colorsys

    bright = corrupt(image, "brightness", 3)
    for row, column in ((0, 0), (10, 40), (47, 3)):
        hue, saturation, value = colorsys.rgb_to_hsv(*(image[row, column] / 255))
        expected = colorsys.hsv_to_rgb(hue, saturation, min(1, value + 0.3))
        assert np.abs(bright[row, column] / 255 - expected).max() < 0.003
    assert np.array_equal(corrupt(np.zeros((4, 4, 3), np.uint8), "brightness", 1), np.full((4, 4, 3), 26))


def test_blurs_keep_a_flat_picture_and_the_mean_of_others():
    flat = np.full((224, 224, 3), 77, np.uint8)
    for name in ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "pixelate", "elastic_transform"):
        assert np.array_equal(corrupt(flat, name, 5), flat), name


@pytest.mark.parametrize(("most", "height", "width"), [(1, 9, 14), (3, 15, 12), (4, 30, 30), (2, 4, 4)])
def test_glass_displaces_one_pixel_after_another(most, height, width):
    random = np.random.default_rng(most)
    image, by = random.random((height, width, 3)), random.integers(-most, most, (2, height, width))
    expected = image.copy()
    for row in range(height - most, most, -1):  # the published loop, whose swap copies
        for column in range(width - most, most, -1):
            expected[row, column] = expected[row + by[0, row, column], column + by[1, row, column]]
    assert np.array_equal(displaced(image, by, most), expected)


def test_defocus_spreads_a_point_over_a_disk():
    dark = np.zeros((224, 224, 1), np.uint8)
    dark[112, 112] = 255
    lit = np.argwhere(corrupt(dark, "defocus_blur", 1)[:, :, 0] > 0) - 112
    assert np.hypot(*lit.T).max() <= 3.6
    assert len(lit) == pytest.approx(np.pi * 3.5**2, abs=8)


def test_kernels_sum_to_one_and_have_their_shape():
    assert disk(0.3).sum() == pytest.approx(1)
    area = (disk(5.0) / disk(5.0).max()).sum()
    assert area == pytest.approx(np.pi * 25, rel=0.02)
    flat = streak(6, 2.0, 0)
    middle = len(flat) // 2
    expected = np.exp(-(np.arange(7) ** 2) / 8)
    assert flat[middle, middle::-1][:7] == pytest.approx(expected / expected.sum())
    assert streak(6, 2.0, 30).sum() == pytest.approx(1)
    across, down = streak(8, 3, 90), streak(8, 3, 0)
    assert across == pytest.approx(down.T, abs=1e-9)


def test_convolution_equals_scipys_direct_one():
    random = np.random.default_rng(0)
    image, kernel = random.random((12, 15, 2)), random.random((5, 3))
    direct = np.stack([ndimage.convolve(image[:, :, c], kernel, mode="mirror") for c in range(2)], axis=2)
    assert convolved(image, kernel) == pytest.approx(direct)


def test_zoom_takes_the_middle():
    ramp = np.broadcast_to(np.arange(64, dtype=np.float32)[None, :, None], (64, 64, 1))
    twice = zoomed(ramp, 2.0)
    assert twice[0, :, 0] == pytest.approx((np.arange(64) + 0.5) / 2 + 16 - 0.5, abs=1e-3)


def test_clouds_go_from_nought_to_one_and_are_rougher_where_they_decay_slowly():
    made = {decay: cloud(40, 60, decay, np.random.default_rng(1)) for decay in (1.4, 2.0)}
    assert made[2.0].shape == (40, 60)
    assert all(land.min() >= 0 and land.max() <= 1 for land in made.values())
    rough = {decay: np.abs(np.diff(land, axis=1)).mean() for decay, land in made.items()}
    assert rough[1.4] > 1.5 * rough[2.0]


def test_lengths_grow_with_the_picture():
    small, large = (np.zeros((side, side, 1), np.uint8) for side in (56, 224))
    small[28, 28] = large[112, 112] = 255
    spread = [np.ptp(np.argwhere(corrupt(dark, "defocus_blur", 5)[:, :, 0] > 0)[:, 0]) for dark in (small, large)]
    assert spread[1] == pytest.approx(4 * spread[0], abs=4)


def test_mistakes_are_sentences():
    image = picture()
    with pytest.raises(VitrailError, match="did you mean fog"):
        corrupt(image, "fogg", 1)
    with pytest.raises(VitrailError, match="severity 6"):
        corrupt(image, "fog", 6)
    with pytest.raises(VitrailError, match="uint8"):
        corrupt(image.astype(float), "fog", 1)
