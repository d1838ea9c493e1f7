"""Which positions a plain ViT has, and how they get to another grid: a part of its config, and so of its checkpoint."""

from collections.abc import Callable
from typing import Any, Protocol

from torch import nn

from ..errors import VitrailError, nearest
from ..nn import AxisPositions, LearnedPositions, SinCosPositions, SinusoidalPositions


class PositionFields(Protocol):
    """Fields of a config that describe its positions.

    Attributes:
        positions: a kind, see `KINDS`.
        position_mode, position_antialias, position_offset: how they are resampled, see `nn.positions`.
        position_grid: (rows, columns) that are stored, where they are not those of `image_size`.
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
    """The parts of an `Embedding` that add positions.

    Args:
        config: what is wanted.
        grid: of an image of the config's size.
        prefix: how many prefix tokens have learned positions of their own.
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
    habits: dict[str, Any] = {"mode": config.position_mode, "antialias": config.position_antialias}
    return {
        name: AxisPositions(axis, grid[axis], config.embed_dim, **habits)
        for axis, name in enumerate(("rows", "columns"))
    }


def _sinusoidal(config: PositionFields, grid: tuple[int, int], prefix: int) -> dict[str, nn.Module]:
    habits: dict[str, Any] = {"mode": config.position_mode, "antialias": config.position_antialias}
    return {"positions": SinusoidalPositions(config.embed_dim, grid=config.position_grid, **habits)}


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
"""One vector a cell; one a row and one a column; sines along the sequence; sines of row and column; nothing."""
