"""Exact rewrite: positions are computed once, for one image size."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn

from ..errors import VitrailError
from ..nn import (
    AnyGridBias,
    AxisPositions,
    BakedBias,
    BakedPositions,
    BakedRotation,
    BaseVisionModel,
    ContinuousRelativeBias,
    DistanceBias,
    GridRotaryPositions,
    LearnedPositions,
    LearnedRotaryPositions,
    RelativeBias,
    RelativeBiasWithClass,
    RotaryPositions,
    SinCosPositions,
    SinePositions,
    SinusoidalPositions,
    Tokens,
    turn,
    turn_pairs,
)
from .base import Rewrite
from .sharing import meta_copy

_ADDED = (LearnedPositions, AxisPositions, SinusoidalPositions, SinCosPositions, SinePositions)
_BIASES = (RelativeBias, AnyGridBias, RelativeBiasWithClass, ContinuousRelativeBias, DistanceBias)
_PAIRED = (GridRotaryPositions, LearnedRotaryPositions)
_BAKED = (*_ADDED, *_BIASES, *_PAIRED, RotaryPositions)


@dataclass(frozen=True, slots=True)
class BakePositions(Rewrite):
    """Compute positions for one image size and store them: resampled tables, biases of the scores, angles of rotations.

    Images of another size then raise ValueError, unless all positions are inside windows.
    """

    image_size: tuple[int, int]
    """Height and width of the images, in pixels."""

    def __call__(self, model: nn.Module) -> None:
        if not isinstance(model, BaseVisionModel):
            raise VitrailError(f"{type(model).__name__} is no model of images: leave bake_positions out")
        met = _met(model, self.image_size)
        for name, seen in met.items():
            if len(seen) == 1:  # a module that is used on several grids, or for tokens of several cells, stays
                model.set_submodule(name, _baked(model.get_submodule(name), next(iter(seen)), _like(model)))
        if not any(len(seen) == 1 for seen in met.values()):
            raise VitrailError("this model computes no positions from the grid: leave bake_positions out")


Met = dict[str, set[tuple[tuple[int, ...], int, int]]]
"""Name of a module -> grid, number of prefix tokens and width of the tokens that it is called with; for tokens that are
merged or removed, whose positions depend on the image, another entry."""

_OF_CELLS = ((), 0, 0)
"""Entry for tokens with a cover."""


def _met(model: BaseVisionModel, image_size: tuple[int, int]) -> Met:
    """What the position modules of a model are called with, for images of a size; found on the meta device."""
    met: Met = {}

    def note(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
            tokens = next(value for value in args if isinstance(value, Tokens))
            found = met.setdefault(name, set())
            found.add((tuple(tokens.grid), tokens.prefix, tokens.x.shape[2]))
            if tokens.cover is not None:
                found.add(_OF_CELLS)

        return hook

    copy = meta_copy(model).eval()
    for name, module in copy.named_modules():
        if isinstance(module, _BAKED):
            module.register_forward_pre_hook(note(name))
    sides = model.config.pixels_shape[:-2]
    pixels = torch.zeros(1, *sides, *image_size, device="meta", dtype=_like(model).dtype)
    try:
        with torch.no_grad():
            copy.forward_features(pixels)
    except ValueError as error:
        raise VitrailError(f"positions cannot be baked for {image_size[0]}×{image_size[1]}: {error}") from error
    except (NotImplementedError, RuntimeError) as error:
        raise VitrailError(
            "the tokens of this model depend on what is in the image: leave bake_positions out"
        ) from error
    return met


def _like(model: nn.Module) -> torch.Tensor:
    """A tensor with the dtype and the device of a model's weights."""
    return next(param for param in model.parameters() if param.is_floating_point())


@torch.no_grad()
def _baked(module: Any, met: tuple[tuple[int, ...], int, int], like: torch.Tensor) -> nn.Module:
    """The module that has the positions of a grid stored."""
    grid, prefix, width = met
    tokens = Tokens(like.new_zeros(1, prefix + prod(grid), width), grid, prefix)
    if isinstance(module, _ADDED):
        return BakedPositions(module(tokens).x, grid)
    if isinstance(module, _BIASES):
        return BakedBias(module(tokens).contiguous(), grid)
    return BakedRotation(module.angles(like, grid), grid, turn_pairs if isinstance(module, _PAIRED) else turn)
