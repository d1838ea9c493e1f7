"""The same pixels as timm's evaluation, from files and from images in memory."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from vitrail.data.decode import decode
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError


@pytest.mark.parametrize("size", [(300, 400), (517, 250), (224, 224), (90, 120)])
@pytest.mark.parametrize(
    ("side", "crop", "how"), [(224, 0.9, "bicubic"), (224, 0.875, "bilinear"), (96, 1.0, "bicubic")]
)
def test_pixels_against_timm(size, side, crop, how):
    smooth = np.add.outer(np.sin(np.arange(size[0]) / 17), np.cos(np.arange(size[1]) / 23))
    array = (np.stack([smooth, -smooth, smooth.T.reshape(size)], -1) * 50 + 128).astype(np.uint8)
    theirs = create_transform((3, side, side), interpolation=how, crop_pct=crop)(Image.fromarray(array))
    ours = Preprocess(image_size=(side, side), crop=crop, interpolation=how)(torch.from_numpy(array).permute(2, 0, 1))
    assert ours.shape == theirs.shape
    # Both round to whole uint8 values after the resize; a step of one is 1 / 255 / 0.225.
    assert (ours - theirs).abs().max() < 2.1 / 255 / 0.225
    assert (ours - theirs).abs().mean() < 0.2 / 255 / 0.225


def test_values_round_trip():
    preprocess = Preprocess(image_size=(20, 30), crop=0.8, mean=(0.1,), std=(0.3,), channels=1)
    assert Preprocess.from_dict(preprocess.to_dict()) == preprocess


def test_pixels_are_shown_on_the_scale_of_their_images():
    unit = Preprocess()
    assert unit.viewable(torch.full((3, 2, 2), 9.0)).unique().tolist() == [1.0]
    wide = Preprocess(mean=(1000.0,), std=(500.0,), channels=1)
    image = torch.tensor([[[-24.0, 3071.0]]])
    torch.testing.assert_close(wide.viewable(wide.normalise(image)), image)


def test_images_in_memory_give_the_pixels_of_their_file(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(array).save(tmp_path / "a.png")
    preprocess = Preprocess(image_size=(16, 16))
    wanted = preprocess(decode((tmp_path / "a.png").read_bytes(), 3))
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    for image in (Image.open(tmp_path / "a.png"), Image.fromarray(array), array, array.transpose(2, 0, 1), tensor):
        assert torch.equal(preprocess(image), wanted)
    assert torch.equal(preprocess(array / np.float32(255)), preprocess(tensor / 255))


@pytest.mark.parametrize(("mode", "channels"), [("L", 3), ("RGB", 1), ("P", 3), ("RGBA", 3), ("CMYK", 3), ("1", 1)])
def test_channels_of_images_in_memory_follow_the_rules_for_files(tmp_path, mode, channels):
    image = Image.radial_gradient("L").convert("RGB").convert(mode)
    file = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(file)
    preprocess = Preprocess(image_size=(8, 8), channels=channels, mean=(0.5,) * channels, std=(0.25,) * channels)
    assert torch.equal(preprocess(image), preprocess(decode(file.read_bytes(), channels)))


def test_orientation_of_a_photograph_in_memory():
    file = io.BytesIO()
    image = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    image.save(file, "PNG", exif=exif)
    preprocess = Preprocess(image_size=(8, 6), crop=1.0, mean=(0.0,), std=(1.0,), channels=1)
    upright = np.rot90(np.asarray(image), -1)
    assert (preprocess(Image.open(file)) * 255).round().int().tolist() == [upright.tolist()]


def test_a_batch_is_its_images_one_by_one():
    preprocess = Preprocess(image_size=(8, 8), crop=1.0)
    images = [np.full((10 + i, 12, 3), 40 * i, np.uint8) for i in range(3)]
    alone = torch.stack([preprocess(image) for image in images])
    assert torch.equal(preprocess.batch(images), alone)
    same = np.stack([image[:10] for image in images])
    assert torch.equal(preprocess.batch(same), alone)
    assert torch.equal(preprocess.batch(torch.from_numpy(same).permute(0, 3, 1, 2)), alone)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "a batch of no images"),
        ([np.zeros((4, 4), np.uint8), np.zeros((4, 4, 2), np.uint8)], "image 1: 2 channels, but 3 are needed"),
        ([np.zeros(4)], r"image 0: an array of shape \(4,\)"),
        ([torch.zeros(1, 1, 1, 4)], r"image 0: a tensor of shape \(1, 1, 1, 4\)"),
        (["a.png"], "image 0: a str, but a Pillow image, an array or a tensor is needed"),
    ],
)
def test_what_is_no_image_is_a_sentence(images, message):
    with pytest.raises(VitrailError, match=message):
        Preprocess().batch(images)


def test_values_of_any_length_are_a_sentence():
    values = {**Preprocess().to_dict(), "mean": list(range(5000))}
    with pytest.raises(VitrailError, match=r"has mean \[0, 1, 2, 3, 4, 5, \.\.\.\] for 3 channels"):
        Preprocess.from_dict(values)
