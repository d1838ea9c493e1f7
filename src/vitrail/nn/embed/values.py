"""Embeddings of the values of uint8 images, 0 to 255, in place of normalised pixels; see `fold_preprocess`."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, fx, nn

from ..tokens import Tokens
from .fit import CheckMultiple, CropToMultiple, PadToMultiple, Sides

Fit = CheckMultiple | CropToMultiple | PadToMultiple


class Standardise(nn.Module):
    """Convert the values of uint8 images to normalised pixels: (B, C, *size) -> (B, C, *size), floating point.

    Args:
        mean, std: of each channel, on the scale where a uint8 image is 0 to 1.
        axes: number of axes behind the channels.
        dtype: of the pixels.
    """

    scale: Float[Tensor, "C *ones"]
    shift: Float[Tensor, "C *ones"]

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], axes: int = 2, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        scale, shift = (each.to(dtype) for each in scale_and_shift(mean, std))
        self.register_buffer("scale", scale.view(-1, *[1] * axes))
        self.register_buffer("shift", shift.view(-1, *[1] * axes))

    def forward(self, values: Shaped[Tensor, "B C *size"]) -> Float[Tensor, "B C *size"]:
        return as_float(values) * self.scale + self.shift


class AsFloat(nn.Module):
    """Convert integers to floating point: (B, C, *size) -> (B, C, *size)."""

    def forward(self, values: Shaped[Tensor, "B C *size"]) -> Float[Tensor, "B C *size"]:
        return as_float(values)


class Centre(nn.Module):
    """Subtract a number from the values of each channel: (B, C, *size) -> (B, C, *size), floating point.

    Args:
        centre: number of each channel.
        axes: number of axes behind the channels.
        dtype: of the numbers, that of the model.
    """

    centre: Float[Tensor, "C *ones"]

    def __init__(self, centre: Sequence[float], axes: int = 2, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.register_buffer("centre", torch.tensor(centre, dtype=dtype).view(-1, *[1] * axes))

    def forward(self, values: Shaped[Tensor, "B C *size"]) -> Float[Tensor, "B C *size"]:
        return as_float(values) - self.centre


class ValuesFit(nn.Module):
    """A layer on the values of images, then the check, crop or padding of a patch embedding.

    Args:
        before: (B, C, *size) of any dtype -> floating point.
        fit: `CheckMultiple`, `CropToMultiple` or `PadToMultiple`.
    """

    def __init__(self, before: nn.Module, fit: Fit) -> None:
        super().__init__()
        self.before = before
        self.fit = fit

    def forward(self, values: Shaped[Tensor, "B C *size"]) -> Float[Tensor, "B C *fitted"]:
        return self.fit(self.before(values))

    def grid(self, image_size: Sides) -> Sides:
        """Number of patches along each side."""
        return self.fit.grid(image_size)


class OfValues(nn.Module):
    """An embedding of pixels behind `Standardise`: values (B, C, H, W) -> Tokens.

    Args:
        standardise: values -> pixels.
        embed: pixels -> Tokens.
    """

    def __init__(self, standardise: Standardise, embed: nn.Module) -> None:
        super().__init__()
        self.standardise = standardise
        self.embed = embed

    def forward(self, values: Shaped[Tensor, "B C *size"]) -> Tokens:
        return self.embed(self.standardise(values))


def scale_and_shift(mean: Sequence[float], std: Sequence[float]) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
    """Factor and summand of each channel that normalise values from 0 to 255, float64."""
    scale = [1 / (255 * each) for each in std]
    shift = [-m / s for m, s in zip(mean, std, strict=True)]
    return torch.tensor(scale, dtype=torch.float64), torch.tensor(shift, dtype=torch.float64)


@fx.wrap  # torch.fx cannot trace code that depends on dtypes: calls are leaves of its graphs
def as_float(values: Shaped[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The values in floating point; a tensor of floating point is returned as it is."""
    return values if values.is_floating_point() else values.to(torch.get_default_dtype())
