"""Baselines of attribution maps: random and centred maps, and the object as a reference."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ...data.seeds import derive
from ..attribution.method import MapFunction

Grid = tuple[int, int]


def random_maps(grid: Grid) -> MapFunction:
    """Random maps, seeded by the pixels."""

    def attribution(model: nn.Module, pixels: Tensor, classes: Tensor) -> Float[Tensor, "B rows columns"]:
        seeds = [derive(0, "random map", value) for value in pixels.double().sum(dim=(1, 2, 3)).tolist()]
        return torch.stack([torch.rand(grid, generator=torch.Generator().manual_seed(seed)) for seed in seeds])

    return attribution


def centre_maps(grid: Grid) -> MapFunction:
    """Maps of a centred Gaussian whose standard deviation is a quarter of each side."""

    def attribution(model: nn.Module, pixels: Tensor, classes: Tensor) -> Float[Tensor, "B rows columns"]:
        rows, columns = ((torch.arange(length) + 0.5) / length * 4 - 2 for length in grid)
        hill = torch.exp(-(rows[:, None] ** 2 + columns[None, :] ** 2) / 2)
        return hill.expand(len(pixels), -1, -1).clone()

    return attribution


BASELINES: dict[str, Callable[[Grid], MapFunction]] = {"random": random_maps, "centre": centre_maps}


def object_maps(masks: Bool[Tensor, "B H W"], grid: Grid) -> Float[Tensor, "B rows columns"]:
    """Fraction of each patch that is covered by the object: the ideal map on this grid."""
    return F.adaptive_avg_pool2d(masks[:, None].float(), grid)[:, 0]
