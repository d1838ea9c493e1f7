"""Mean and standard deviation of each channel of a data set."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf

from ..data.preprocess import Preprocess
from ..data.seeds import permutation
from ..errors import VitrailError

_ENOUGH = 1000
_MOST_SPREAD = 20
_LEAST_CONTRAST = 1e-5
"""Smallest deviation relative to the mean: float32 has seven digits."""


def channel_statistics(
    read: Callable[[int], Tensor], count: int, seed: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation over the pixels of up to 1,000 images, on the scale where uint8 is 0 to 1.

    Raises:
        VitrailError: a channel is constant.
    """
    mean, std = _measured(read, count, seed)
    _require_contrast(mean, std)
    return _rounded(mean, std)


def given_statistics(
    mean: Sequence[float] | None, std: Sequence[float] | None, channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and standard deviation of a recipe; None if it has neither.

    Raises:
        VitrailError: one of the two is missing, or they do not fit the number of channels.
    """
    if mean is None and std is None:
        return None
    for name, values in (("mean", mean), ("std", std)):
        if values is None:
            raise VitrailError(f"recipe.{name} is missing: give mean and std, or none of the two")
        if len(values) != channels:
            raise VitrailError(f"recipe.{name} has {len(values)} values for {channels} channels: give one for each")
    assert mean is not None
    assert std is not None
    return tuple(mean), tuple(std)


def _measured(read: Callable[[int], Tensor], count: int, seed: int) -> tuple[Tensor, Tensor]:
    chosen: Sequence[int] = sorted(permutation(count, seed)[:_ENOUGH])
    sums = squares = torch.zeros(1, dtype=torch.float64)
    pixels = 0
    for index in chosen:
        image = tvf.to_dtype(read(index), torch.float32, scale=True).double().movedim(-3, 0).flatten(1)
        sums, squares = sums + image.sum(1), squares + image.square().sum(1)
        pixels += image.shape[1]
    mean = sums / pixels
    std = (squares / pixels - mean.square()).clamp(min=0).sqrt()
    return mean, std


def _rounded(mean: Tensor, std: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    places = [_places(value) for value in std.tolist()]
    return tuple(map(round, mean.tolist(), places)), tuple(map(round, std.tolist(), places))


def require_scale(read: Callable[[int], Tensor], count: int, seed: int, preprocess: Preprocess) -> None:
    """Check that images have the scale of values that trained weights know.

    Raises:
        VitrailError: the images' mean or deviation is more than 20 of the weights' deviations.
    """
    measured = _measured(read, count, seed)
    if _flat(*measured).all():
        _require_contrast(*measured)
    found = _rounded(*measured)
    for mean, std, known, spread in zip(*found, preprocess.mean, preprocess.std, strict=True):
        if max(abs(mean - known), std) > _MOST_SPREAD * spread:
            raise VitrailError(
                f"the values of the training images (mean {mean:.4g}, deviation {std:.4g}) are on another scale than "
                f"those of the weights (mean {known:.4g}, deviation {spread:.4g}): save the images as uint8 from 0 to "
                "255, as uint16 from 0 to 65535 or as floats from 0 to 1, or train from fresh weights"
            )


def _require_contrast(mean: Tensor, std: Tensor) -> None:
    """Raise VitrailError if a channel is constant, see `_flat`."""
    constant = _flat(mean, std)
    flat = constant.nonzero().flatten().tolist()
    if not flat:
        return
    names = ", ".join(f"channel {channel + 1} (always {mean[channel]:.4g})" for channel in flat)
    raise VitrailError(
        f"of the {len(mean)} channel{'s' * (len(mean) > 1)} of the training images, {names} hold"
        f"{'s' * (len(flat) == 1)} the same value everywhere, so that there is nothing to learn from: check how the "
        f"images were saved{_way_out(mean, std, constant)}"
    )


def _flat(mean: Tensor, std: Tensor) -> Tensor:
    """Which channels are constant, or so nearly that float32 does not hold their differences."""
    return std <= (_LEAST_CONTRAST * mean.abs()).clamp(min=1e-30)


def _way_out(mean: Tensor, std: Tensor, constant: Tensor) -> str:
    """End of the message if other channels have contrast: the settings that keep all channels."""
    if constant.all():
        return ""
    means, stds = _rounded(mean, torch.where(constant, 1.0, std))
    return (
        ", save them without it, or keep it, which the model then sees as zeros: --set "
        f"'mean={_listed(means)}' 'std={_listed(stds)}'"
    )


def _listed(values: Sequence[float]) -> str:
    return f"[{', '.join(f'{value:.10g}' for value in values)}]"


def _places(std: float) -> int:
    """Decimal places of a statistic: four, and of small deviations so many that four digits are left."""
    return max(4, 3 - math.floor(math.log10(std))) if 0 < std < 0.1 else 4
