"""Augmentation of training images. Random numbers come from torch's CPU generator, which the loader seeds."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import v2

from ..errors import VitrailError
from .augment_options import Augment
from .preprocess import Preprocess

Transform = Callable[[Tensor], Tensor]
Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def image_transform(augment: Augment, preprocess: Preprocess) -> Transform:
    """Build the augmentation, image (C, H, W) -> image (C, *image_size) with values on the same scale.

    All but the resized crop take images that `preprocess.fit` has resized already; see `takes_fitted`.

    Raises:
        VitrailError: a colour operation for images that are neither grey nor RGB.
    """
    if preprocess.channels not in (1, 3) and (augment.color_jitter or augment.randaugment):
        raise VitrailError(
            f"color_jitter and randaugment need grey or RGB images, these have {preprocess.channels} channels: "
            "set augment.color_jitter=0 and augment.randaugment=0"
        )
    steps: list[Transform] = []
    if augment.crop == "resized":
        steps.append(_resized_crop(augment, preprocess))
    elif augment.crop == "shift":
        steps.append(_Shift(preprocess.image_size, augment.shift))
    if augment.flip:
        steps.append(_Flip(augment.flip))
    if augment.color_jitter:
        strength = augment.color_jitter
        steps.append(_UnitRange(v2.ColorJitter(strength, strength, strength if preprocess.channels == 3 else 0)))
    if augment.randaugment:
        steps.append(_UnitRange(v2.RandAugment(augment.randaugment, augment.randaugment_magnitude)))
    if augment.erasing:
        steps.append(_Erase(augment.erasing, preprocess.mean))
    return _Steps(steps)


def takes_fitted(augment: Augment) -> bool:
    """Whether the transform takes resized images, which are then resized once instead of in every epoch."""
    return augment.crop != "resized"


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
    return v2.RandomApply([v2.RandomChoice(kinds)], p=rate)


def _resized_crop(augment: Augment, preprocess: Preprocess) -> Transform:
    return v2.RandomResizedCrop(
        list(preprocess.image_size),
        scale=augment.crop_scale,
        ratio=augment.crop_ratio,
        interpolation=v2.InterpolationMode(preprocess.interpolation),
        antialias=True,
    )


class _Steps:
    """Sequence of transforms; `v2.Compose` has too much overhead for small images."""

    def __init__(self, steps: list[Transform]) -> None:
        self.steps = steps

    def __call__(self, image: Tensor) -> Tensor:
        for step in self.steps:
            image = step(image)
        return image


class _UnitRange:
    """A transform that clips floats to [0, 1], applied to images of any values.

    An image that exceeds this range is brought into it, from its own lowest to its highest value, and back.
    """

    def __init__(self, transform: Transform) -> None:
        self.transform = transform

    def __call__(self, image: Tensor) -> Tensor:
        if image.dtype == torch.uint8:
            return self.transform(image)
        low, high = image.aminmax()
        if low >= 0 and high <= 1:
            return self.transform(image)
        span = (high - low).clamp(min=1e-12)
        return self.transform((image - low) / span) * span + low


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
        return image.index_select(1, rows).index_select(2, columns)


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
