"""Augmentation against timm's on Pillow images, for 8-bit images and for others with more bits."""

from itertools import islice
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from timm.data import auto_augment as timm_augment

from vitrail.data.augment import alternating_flip, image_transform
from vitrail.data.augment_ops import OPERATIONS, Canvas, gaussian_blur, operation_names
from vitrail.data.augment_options import Augment
from vitrail.data.loader import OneView, TrainLoader
from vitrail.data.order import weighted_order
from vitrail.data.preprocess import Preprocess
from vitrail.data.randaugment_policy import RandAugmentPolicy, parse_policy
from vitrail.data.seeds import seed_cpu
from vitrail.errors import VitrailError

FILL = (124, 116, 104)
PLAIN = Augment(crop="none", flip=0.0)


def picture(height: int = 48, width: int = 64, channels: int = 3) -> torch.Tensor:
    """A smooth uint8 image with a little noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, channels, 7, 9, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")[0]
    noise = torch.randn(channels, height, width, generator=generator)
    return (0.1 + 0.8 * smooth + 0.05 * noise).clamp(0, 1).mul(255).round().to(torch.uint8)


def options(**values) -> Augment:
    return Augment(**{"crop": "none", "flip": 0.0, **values})


@pytest.mark.parametrize("level", [2.7, 9.0])
@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_is_timms(name: str, level: float) -> None:
    operation, image = OPERATIONS[name], picture()
    shown = Image.fromarray(image.permute(1, 2, 0).numpy())
    for sign in (1, -1) if operation.signed else (1,):
        argument = operation.argument(level, sign)
        for words, mode, most in (("bilinear", Image.Resampling.BILINEAR, 1), ("bicubic", Image.Resampling.BICUBIC, 8)):
            canvas = Canvas(tuple(value / 255 for value in FILL), words)
            find = timm_augment.LEVEL_TO_ARG[name]
            with patch.object(timm_augment, "_randomly_negate", lambda value, sign=sign: sign * value):
                theirs = find(level, {}) if find else ()
            wanted = timm_augment.NAME_TO_OP[name](shown, *theirs, fillcolor=FILL, resample=mode)
            found = operation.apply(image, argument, canvas)
            off = (found.int() - torch.from_numpy(np.array(wanted)).permute(2, 0, 1).int()).abs()
            assert off.max() <= most  # the bicubic of Pillow has another slope (-1, not -0.75)
            assert off.float().mean() < 1
            floats = operation.apply(image / 255, argument, canvas)
            assert (floats * 255 - found).abs().max() < 2


def test_the_operations_of_a_policy_are_timms() -> None:
    assert operation_names(increasing=True) == timm_augment._RAND_INCREASING_TRANSFORMS
    assert operation_names(increasing=False) == timm_augment._RAND_TRANSFORMS
    theirs = timm_augment.rand_augment_transform("rand-m9-mstd0.5-inc1", {})
    ours = parse_policy("rand-m9-mstd0.5-inc1")
    assert ours == RandAugmentPolicy(magnitude=9.0, deviation=0.5, increasing=True)
    assert (ours.count, ours.rate) == (theirs.num_layers, theirs.ops[0].prob)
    assert parse_policy("rand-n3-p0.2-mmax30-mstd101") == RandAugmentPolicy(
        count=3, rate=0.2, most=30.0, deviation=float("inf")
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rand-m9-x3", "'x3' is not readable"),
        ("random", "'random' is not readable"),
        ("rand-p3", "p is at most 1"),
        ("rand-n2.5", "n is at most 100"),
        ("", "'' is not readable"),
    ],
)
def test_another_notation_is_an_error(text: str, words: str) -> None:
    with pytest.raises(VitrailError, match=words):
        Augment(randaugment=text)


def test_levels_and_rates_of_a_policy() -> None:
    image = picture()
    seen = []
    brightness = OPERATIONS["BrightnessIncreasing"]
    spied = type(brightness)(lambda level, sign: seen.append((level, sign)) or 1.0, brightness.apply, signed=True)
    transform = image_transform(options(randaugment="rand-m9-mstd0.5-inc1-n4"), Preprocess(image_size=(48, 64)))
    with patch.dict(OPERATIONS, dict.fromkeys(OPERATIONS, spied)):
        for _ in range(500):
            transform(image)
    levels, signs = zip(*seen, strict=True)
    assert abs(len(seen) / 2000 - 0.5) < 0.05
    assert abs(np.mean(levels) - 9) < 0.06
    assert abs(np.std(levels) - 0.5) < 0.06
    assert max(levels) <= 10
    assert abs(np.mean(signs)) < 0.1


@pytest.mark.parametrize(
    "augment",
    [
        options(randaugment="rand-m9-mstd0.5-inc1"),
        options(randaugment="rand-m5-n4-p1"),
        options(three_augment=True, color_jitter=0.3),
        options(color_jitter=0.4, hue=0.1, color_jitter_rate=0.8),
        options(grayscale=0.5, blur=0.5, solarize=0.5),
        options(erasing=1.0, erasing_mode="pixel"),
        options(erasing=1.0),
        Augment(crop="simple"),
        Augment(),
    ],
    ids=["rand", "plain rand", "three", "jitter", "dino", "noise", "erasing", "simple", "resized"],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_more_bits_are_changed_as_those_of_eight(augment: Augment, channels: int) -> None:
    # A 16-bit file is decoded to value / 65535; 257 * 255 = 65535, so this is the same image.
    image = picture(channels=channels)
    deep = (image.double() * 257 / 65535).float()
    preprocess = Preprocess(image_size=(24, 32), channels=channels, mean=(0.5,) * channels, std=(0.25,) * channels)
    transform = image_transform(augment, preprocess)
    for seed in range(6):
        seed_cpu(seed)
        found = preprocess.normalise(transform(image))
        seed_cpu(seed)
        other = preprocess.normalise(transform(deep))
        off = (found - other).abs().mul(0.25 * 255)
        # Operations on eight bits cut off fractions, which the next ones magnify.
        assert off.mean() < 4
        assert off.quantile(0.99) < 8


def test_values_outside_of_zero_to_one_are_filled_with_their_mean() -> None:
    image = picture().float() * 10 - 1000
    preprocess = Preprocess(image_size=(48, 64), mean=(300.0,) * 3, std=(1.0,) * 3)
    transform = image_transform(options(randaugment="rand-n1-p1"), preprocess)
    filled = 0
    for seed in range(30):
        seed_cpu(seed)
        filled += int((transform(image) - 300).abs().lt(0.1).sum() > 500)
    assert filled >= 5  # 5 of 15 operations are geometric


def test_blur_is_scipys() -> None:
    image = picture()
    for sigma in (0.1, 0.7, 2.0):
        reach = int(np.ceil(3 * sigma))
        values = image.double().numpy() / 255
        wanted = gaussian_filter(values, (0, sigma, sigma), mode="nearest", radius=(0, reach, reach))
        assert np.abs(gaussian_blur(image / 255, sigma).numpy() - wanted).max() < 1e-6
        assert np.abs(gaussian_blur(image, sigma).numpy() - 255 * wanted).max() < 0.51


def test_three_augment_draws_one_of_three() -> None:
    image = picture(16, 16)
    transform = image_transform(options(three_augment=True), Preprocess())
    counts = [0, 0, 0]
    inverted = torch.where(image >= 128, 255 - image, image)
    for _ in range(150):
        found = transform(image)
        grey = bool((found[0] == found[1]).all())
        counts[0 if grey else 1 if torch.equal(found, inverted) else 2] += 1
    assert min(counts) > 30


def test_pixels_of_erased_rectangles_are_standard_normal() -> None:
    preprocess = Preprocess(image_size=(64, 64))
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    transform = image_transform(options(erasing=0.5, erasing_mode="pixel"), preprocess)
    plain = preprocess.normalise(image)
    erased, values = [], []
    for _ in range(200):
        changed = preprocess.normalise(transform(image))
        inside = (changed != plain).any(0)
        erased.append(inside.float().mean().item())
        values.append(changed[:, inside].flatten())
    noise = torch.cat(values)
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02
    shares = [share for share in erased if share]
    assert 70 < len(shares) < 130
    assert 0.015 < min(shares) <= max(shares) < 0.35


def test_the_simple_crop_is_a_part_of_the_mirrored_image() -> None:
    image = picture(48, 64)
    whole = torch.nn.functional.pad(image[None].float(), (4, 4, 4, 4), mode="reflect")[0].to(torch.uint8)
    transform = image_transform(Augment(crop="simple", flip=0.0), Preprocess(image_size=(48, 48)))
    places = {(y, x): whole[:, y : y + 48, x : x + 48] for y in range(9) for x in range(25)}
    found = []
    for _ in range(80):
        crop = transform(image)
        found += [place for place, part in places.items() if torch.equal(part, crop)]
    assert len(found) == 80
    assert len({y for y, _ in found}) == 9
    assert max(x for _, x in found) > 20


def test_colour_operations_refuse_other_channels() -> None:
    preprocess = Preprocess(image_size=(12, 12), channels=5, mean=(0.5,) * 5, std=(0.5,) * 5)
    with pytest.raises(VitrailError, match=r"three_augment needs grey or RGB.*three_augment=false"):
        image_transform(Augment(three_augment=True), preprocess)
    with pytest.raises(VitrailError, match="color_jitter and randaugment need grey"):
        image_transform(Augment(color_jitter=0.1, randaugment="rand-m9"), preprocess)
    augment = options(blur=1.0, solarize=1.0, erasing=1.0, erasing_mode="pixel")
    assert image_transform(augment, preprocess)(picture(12, 12, 5)).shape == (5, 12, 12)


def loader(repeats: int = 1, weights: torch.Tensor | None = None, before=None, count: int = 10) -> TrainLoader:
    preprocess = Preprocess(image_size=(8, 8), mean=(0.0,) * 3, std=(1.0,) * 3)
    images = [picture(8 + number, 9) for number in range(count)]
    views = OneView(image_transform(Augment() if before is None else PLAIN, preprocess))
    read = images.__getitem__ if before is None else [preprocess.fit(image) for image in images].__getitem__
    return TrainLoader(
        read,
        count,
        None,
        views,
        preprocess,
        batch_size=5,
        seed=3,
        before=before,
        repeats=repeats,
        weights=weights,
    )


def test_repeated_augmentation_shows_an_image_three_times_in_a_row() -> None:
    source = loader(repeats=3)
    first, second = islice(source.batches(), 2)
    order = first.indices + second.indices
    assert order == [index for index in order[::3] for _ in range(3)][:10]
    assert len(set(order)) == 4
    assert not torch.equal(first.pixels[0], first.pixels[1])
    assert torch.equal(first.pixels[0], next(loader().batches()).pixels[0])  # the first one is that of a plain epoch
    later = next(source.batches(3))
    assert later.indices == source.order(1)[1]
    assert torch.equal(later.pixels, list(islice(source.batches(), 4))[3].pixels)


def test_alternating_flips_show_both_sides_in_two_epochs() -> None:
    flip = alternating_flip(Augment(flip_mode="alternate"), seed=3)
    assert flip is not None
    assert alternating_flip(Augment(), 3) is None
    assert alternating_flip(Augment(flip=0, flip_mode="alternate"), 3) is None
    batches = list(islice(loader(before=flip).batches(), 4))
    epochs = [
        {index: image for batch in part for index, image in zip(batch.indices, batch.pixels, strict=True)}
        for part in (batches[:2], batches[2:])
    ]
    for index in range(10):
        assert torch.equal(epochs[0][index], epochs[1][index].flip(-1))
    plain = [torch.equal(image, next(iter(loader().once())).pixels[0]) for image in epochs[0].values()]
    assert sum(plain) < 10
    assert 40 < sum(bool((flip(torch.arange(2), 0, index) == torch.arange(2)).all()) for index in range(100)) < 60


def test_weighted_order_has_the_expected_numbers() -> None:
    weights = torch.tensor([3.0] * 4 + [0.25] * 16)
    weights *= 20 / weights.sum()
    rare = []
    for epoch in range(40):
        order = weighted_order(weights, 1, epoch)
        assert len(order) == 20
        rare.append(sum(index < 4 for index in order))
        assert {order.count(index) for index in range(4)} <= {3, 4}
    assert abs(np.mean(rare) - 15) < 0.2
    assert set(rare) <= {15, 16, 14}
    assert weighted_order(weights, 1, 0) != weighted_order(weights, 1, 1)
    assert sorted(weighted_order(torch.ones(50), 1, 0)) == list(range(50))


def test_a_sample_drawn_several_times_is_augmented_differently() -> None:
    source = loader(weights=torch.tensor([5.0, *[5 / 9] * 9]))
    batches = list(islice(source.batches(), 2))
    images = [
        image for batch in batches for index, image in zip(batch.indices, batch.pixels, strict=True) if index == 0
    ]
    assert len(images) == 5
    assert len({float(image.sum()) for image in images}) == 5
