"""Random rectangles on a grid, to hide parts of images."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def random_rectangles(
    areas: Float[Tensor, " B"], grid: tuple[int, int], *, narrowest: float
) -> Bool[Tensor, "B rows columns"]:
    """One rectangle for each image, true inside, at a random place.

    Args:
        areas: fraction of the grid that each covers, up to rounding; more than 0 and at most 1.
        grid: (rows, columns).
        narrowest: least ratio of a rectangle's sides, relative to those of the grid; its logarithm is uniform.
    """
    count, device = len(areas), areas.device
    reach = torch.minimum(-areas.log(), areas.new_tensor(-math.log(narrowest)))  # no side is longer than the grid's
    stretch = (reach * (torch.rand(count, device=device) - 0.5)).exp()
    inside = []
    for side, part in ((grid[0], areas.sqrt() * stretch), (grid[1], areas.sqrt() / stretch)):
        cells = (side * part).round().clamp(1, side)
        first = ((side - cells + 1) * torch.rand(count, device=device)).floor().unsqueeze(1)
        place = torch.arange(side, device=device)
        inside.append((place >= first) & (place < first + cells.unsqueeze(1)))
    return inside[0].unsqueeze(2) & inside[1].unsqueeze(1)
