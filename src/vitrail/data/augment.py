"""Augmentation of training images. Random numbers come from torch's CPU generator, which the loader seeds."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tvf

from ..errors import VitrailError
from .augment_options import Augment
from .preprocess import Preprocess
from .randaugment import RandAugment, RandomBlur, RandomGrayscale, RandomSolarize, ThreeAugment, uniform
from .randaugment_policy import parse_policy
from .seeds import derive
from .time_window import TimeWindow
from .unit_range import Transform, UnitRange

Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

_ERASED_AREA = (0.02, 1 / 3)
_ERASED_RATIO = math.log(1 / 0.3)
_ATTEMPTS = 10
"""Erased fraction of an image, the logarithm of its largest aspect ratio, and attempts to fit it in, as in timm."""

_BORDER = 4
"""Mirrored pixels around an image before its simple random crop."""


def image_transform(augment: Augment, preprocess: Preprocess) -> Transform:
    """Build the augmentation, image (C, H, W) -> image (C, *image_size) with values on the same scale.

    For a model of clips it takes clips (T, C, H, W): it shows a part of the time in `preprocess.frames` frames, and all
    else is the same for every frame. All but the resized and the simple crop take images that `preprocess.fit` has
    resized already; see `takes_fitted`.

    Args:
        augment: the steps and their strengths.
        preprocess: size, mean and number of channels of the images.

    Raises:
        VitrailError: a colour operation for images that are neither grey nor RGB.
    """
    _check_channels(augment, preprocess.channels)
    steps: list[Transform] = [] if preprocess.frames is None else [TimeWindow(preprocess.frames)]
    steps += _crop(augment, preprocess)
    if augment.flip and augment.flip_mode == "random":
        steps.append(_Flip(augment.flip))
    steps += [UnitRange(step) for step in _before(augment, preprocess.channels)]
    if isinstance(augment.randaugment, str):
        policy = parse_policy(augment.randaugment)
        steps.append(RandAugment(policy, preprocess.mean, preprocess.interpolation))
    elif augment.randaugment:
        steps.append(UnitRange(v2.RandAugment(augment.randaugment, augment.randaugment_magnitude)))
    steps += [UnitRange(step) for step in _after(augment)]
    if augment.erasing:
        noise = augment.erasing_mode == "pixel"
        erase = _EraseWithNoise(augment.erasing, preprocess) if noise else _Erase(augment.erasing, preprocess.mean)
        steps.append(erase)
    return _Steps(steps)


def alternating_flip(augment: Augment, seed: int) -> "AlternatingFlip | None":
    """The flip of an augmentation with `flip_mode: alternate`; None for other augmentations."""
    return AlternatingFlip(seed) if augment.flip and augment.flip_mode == "alternate" else None


def takes_fitted(augment: Augment) -> bool:
    """Whether the transform takes resized images, which are then resized once instead of in every epoch."""
    return augment.crop in ("shift", "none")


def batch_mix(mixup: float, cutmix: float, rate: float, num_classes: int) -> Mix | None:
    """Build Mixup and CutMix, (pixels (B, C, H, W), targets (B, K)) -> the same, mixed; None for no mixing.

    Args:
        mixup, cutmix: alpha of each, 0 for none; with both, each batch draws one of them.
        rate: fraction of the batches that is mixed.
        num_classes: number of classes K.
    """
    kinds = []
    if mixup:
        kinds.append(v2.MixUp(alpha=mixup, num_classes=num_classes))
    if cutmix:
        kinds.append(v2.CutMix(alpha=cutmix, num_classes=num_classes))
    if not kinds:
        return None
    return _Mixed(v2.RandomApply([v2.RandomChoice(kinds)], p=rate))


def _check_channels(augment: Augment, channels: int) -> None:
    """Raise VitrailError for colour operations on images with other channels than grey or RGB."""
    names = ("color_jitter", "hue", "randaugment", "three_augment", "grayscale")
    values = (augment.color_jitter, augment.hue, augment.randaugment, augment.three_augment, augment.grayscale)
    used = [name for name, value in zip(names, values, strict=True) if value]
    if channels not in (1, 3) and used:
        off = " and ".join(f"augment.{name}={'false' if name == 'three_augment' else 0}" for name in used)
        raise VitrailError(
            f"{' and '.join(used)} need{'s' * (len(used) == 1)} grey or RGB images, these have {channels} channels: "
            f"set {off}"
        )


def _crop(augment: Augment, preprocess: Preprocess) -> list[Transform]:
    """The random crop or shift."""
    size, interpolation = preprocess.image_size, v2.InterpolationMode(preprocess.interpolation)
    if augment.crop == "resized":
        crop = v2.RandomResizedCrop(
            list(size),
            scale=augment.crop_scale,
            ratio=augment.crop_ratio,
            interpolation=interpolation,
            antialias=True,
        )
        return [crop]
    if augment.crop == "simple":
        return [_SimpleCrop(preprocess)]
    return [_Shift(size, augment.shift)] if augment.crop == "shift" else []


def _before(augment: Augment, channels: int) -> list[Transform]:
    """Colour operations before RandAugment."""
    steps: list[Transform] = [ThreeAugment()] if augment.three_augment else []
    if augment.color_jitter or augment.hue:
        strength, coloured = augment.color_jitter, channels == 3
        jitter = v2.ColorJitter(strength, strength, strength if coloured else 0, augment.hue if coloured else 0)
        always = augment.color_jitter_rate == 1
        steps.append(jitter if always else v2.RandomApply([jitter], p=augment.color_jitter_rate))
    return steps


def _after(augment: Augment) -> list[Transform]:
    """Colour operations after RandAugment."""
    kinds = ((RandomGrayscale, augment.grayscale), (RandomBlur, augment.blur), (RandomSolarize, augment.solarize))
    return [kind(rate) for kind, rate in kinds if rate]


class _Steps:
    """Sequence of transforms; `v2.Compose` has too much overhead for small images."""

    def __init__(self, steps: list[Transform]) -> None:
        self.steps = steps

    def __call__(self, image: Tensor) -> Tensor:
        for step in self.steps:
            image = step(image)
        return image


class _Mixed:
    """Mixup and CutMix of a batch of images, or of clips, whose frames are then mixed like channels of an image."""

    def __init__(self, mix: Mix) -> None:
        self.mix = mix

    def __call__(self, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        mixed, labels = self.mix(pixels.flatten(1, -3), targets)
        return mixed.view_as(pixels), labels


class _Flip:
    """Random horizontal flip."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, image: Tensor) -> Tensor:
        return image.flip(-1) if torch.rand(()) < self.rate else image


class _Shift:
    """Random shift by up to a fraction of the side, with mirrored borders."""

    def __init__(self, size: tuple[int, int], part: float) -> None:
        self.moves = [_moves(side, round(side * part)) for side in size]

    def __call__(self, image: Tensor) -> Tensor:
        rows, columns = (moves[int(torch.randint(len(moves), ()))] for moves in self.moves)
        return image.index_select(-2, rows).index_select(-1, columns)


def _moves(side: int, reach: int) -> list[Tensor]:
    """Indices 0..side-1 shifted by -reach..reach, mirrored at the borders."""
    moved = (torch.arange(side) + torch.arange(-reach, reach + 1)[:, None]).abs()
    return list((side - 1) - (side - 1 - moved).abs())


class _Erase:
    """Random erasing with the mean colour, on the scale of the image."""

    def __init__(self, rate: float, mean: tuple[float, ...]) -> None:
        self.bytes = v2.RandomErasing(rate, value=[round(255 * value) for value in mean])
        self.floats = v2.RandomErasing(rate, value=list(mean))

    def __call__(self, image: Tensor) -> Tensor:
        return self.bytes(image) if image.dtype == torch.uint8 else self.floats(image)


class _EraseWithNoise:
    """Random erasing with normal noise in each pixel, with the images' mean and deviation; -> float32.

    After `preprocess.normalise` the noise is standard normal, as in timm's mode "pixel". Every image becomes float32,
    because the noise exceeds the range of uint8.
    """

    def __init__(self, rate: float, preprocess: Preprocess) -> None:
        self.rate = rate
        self.mean, self.std = (torch.tensor(values).view(-1, 1, 1) for values in (preprocess.mean, preprocess.std))

    def __call__(self, image: Tensor) -> Tensor:
        pixels = tvf.to_dtype(image, torch.float32, scale=True)
        if uniform(0.0, 1.0) >= self.rate:
            return pixels
        height, width = pixels.shape[-2:]
        for _ in range(_ATTEMPTS):
            area = uniform(*_ERASED_AREA) * height * width
            ratio = math.exp(uniform(-_ERASED_RATIO, _ERASED_RATIO))
            rows, columns = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < rows < height and 0 < columns < width:
                top, left = (int(torch.randint(most + 1, ())) for most in (height - rows, width - columns))
                noise = torch.randn(pixels.shape[-3], rows, columns).mul_(self.std).add_(self.mean)
                pixels = pixels.clone() if pixels is image else pixels
                pixels[..., top : top + rows, left : left + columns] = noise
                break
        return pixels


class _SimpleCrop:
    """Resize the shorter side, then a random crop of the image with four mirrored pixels around it.

    The "simple random crop" of Touvron et al. (2022), "DeiT III", section 3.2.
    """

    def __init__(self, preprocess: Preprocess) -> None:
        self.size = preprocess.image_size
        self.interpolation = v2.InterpolationMode(preprocess.interpolation)

    def __call__(self, image: Tensor) -> Tensor:
        height, width = self.size
        scale = max(height / image.shape[-2], width / image.shape[-1])
        sides = [max(height, round(image.shape[-2] * scale)), max(width, round(image.shape[-1] * scale))]
        resized = tvf.resize(image, sides, interpolation=self.interpolation, antialias=True)
        moves = [_crop_rows(there, wanted) for there, wanted in zip(sides, self.size, strict=True)]
        return resized.index_select(-2, moves[0]).index_select(-1, moves[1])


def _crop_rows(there: int, wanted: int) -> Tensor:
    """Indices of a random crop of `wanted` rows of `there`, which are mirrored at both ends."""
    reach = min(_BORDER, there - 1)
    start = int(torch.randint(there + 2 * reach - wanted + 1, ())) - reach
    rows = (torch.arange(wanted) + start).abs()
    return (there - 1) - (there - 1 - rows).abs()


class AlternatingFlip:
    """Horizontal flip of each image in every second epoch, (image, epoch, index) -> image.

    Whether an image is flipped in even or in odd epochs is a function of (seed, index). Two epochs show each image in
    both ways, where random flips show every second image twice in the same way (Jordan, 2024, "94 % on CIFAR-10 in 3.29
    seconds on a single GPU", section 3.6).

    Args:
        seed: seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, image: Tensor, epoch: int, index: int) -> Tensor:
        return image.flip(-1) if (derive(self.seed, "flip", index) + epoch) % 2 else image
