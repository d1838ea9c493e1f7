"""Positions of a plain ViT by the name in its config, and how they are resampled to other grids."""

from collections.abc import Callable
from typing import Any, Protocol

from torch import nn

from ..errors import VitrailError, nearest
from ..nn import AxisPositions, LearnedPositions, SinCosPositions, SinusoidalPositions


class PositionFields(Protocol):
    """Fields of a config for its positions.

    Attributes:
        positions: kind of the positions, see `KINDS`.
        position_mode, position_antialias, position_offset: how they are resampled, see `nn.positions`.
        position_grid: stored (rows, columns), if not the grid of `image_size`.
    """

    @property
    def embed_dim(self) -> int: ...
    @property
    def positions(self) -> str: ...
    @property
    def position_mode(self) -> str: ...
    @property
    def position_antialias(self) -> bool: ...
    @property
    def position_offset(self) -> float: ...
    @property
    def position_grid(self) -> tuple[int, int] | None: ...


def position_parts(config: PositionFields, grid: tuple[int, int], *, prefix: int) -> dict[str, nn.Module]:
    """Build the parts of an `Embedding` that add positions.

    Args:
        config: the model's config.
        grid: (rows, columns) of an image of the config's size.
        prefix: number of prefix tokens with learned positions.
    """
    if config.positions not in KINDS:
        raise VitrailError(f"there are no positions {config.positions!r}: {nearest(config.positions, KINDS)}")
    return KINDS[config.positions](config, config.position_grid or grid, prefix)


def _learned(config: PositionFields, grid: tuple[int, int], prefix: int) -> dict[str, nn.Module]:
    positions = LearnedPositions(
        grid,
        config.embed_dim,
        prefix=prefix,
        mode=config.position_mode,
        antialias=config.position_antialias,
        offset=config.position_offset,
    )
    return {"positions": positions}


def _axes(config: PositionFields, grid: tuple[int, int], prefix: int) -> dict[str, nn.Module]:
    resampling: dict[str, Any] = {"mode": config.position_mode, "antialias": config.position_antialias}
    return {
        name: AxisPositions(axis, grid[axis], config.embed_dim, **resampling)
        for axis, name in enumerate(("rows", "columns"))
    }


def _sinusoidal(config: PositionFields, grid: tuple[int, int], prefix: int) -> dict[str, nn.Module]:
    resampling: dict[str, Any] = {"mode": config.position_mode, "antialias": config.position_antialias}
    return {"positions": SinusoidalPositions(config.embed_dim, grid=config.position_grid, **resampling)}


def _sincos(config: PositionFields, grid: tuple[int, int], prefix: int) -> dict[str, nn.Module]:
    return {"positions": SinCosPositions(config.embed_dim)}


def _none(config: PositionFields, grid: tuple[int, int], prefix: int) -> dict[str, nn.Module]:
    return {}


KINDS: dict[str, Callable[[PositionFields, tuple[int, int], int], dict[str, nn.Module]]] = {
    "learned": _learned,
    "axes": _axes,
    "sinusoidal": _sinusoidal,
    "sincos": _sincos,
    "none": _none,
}
"""Kind -> builder. learned: a vector for each cell; axes: a vector for each row and each column; sinusoidal: sines
along the sequence; sincos: sines of row and column; none: no positions."""
