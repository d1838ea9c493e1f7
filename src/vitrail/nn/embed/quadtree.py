"""Quadtrees over images: large cells in plain regions, small cells in detailed regions."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

Detail = Callable[[Float[Tensor, "B C H W"], int], Float[Tensor, "B h w"]]
"""A measure of detail: (pixels (B, C, H, W), side in pixels) -> one number for each cell (B, h, w)."""


def variance(pixels: Float[Tensor, "B C H W"], side: int) -> Float[Tensor, "B h w"]:
    """Variance of the pixels inside each cell, mean over the channels; complete cells only."""
    mean = F.avg_pool2d(pixels, side)
    return (F.avg_pool2d(pixels.square(), side) - mean.square()).clamp(min=0).mean(dim=1)


def entropy(pixels: Float[Tensor, "B C H W"], side: int, bins: int = 32) -> Float[Tensor, "B h w"]:
    """Entropy in bits of the brightness inside each cell, with `bins` between the image's minimum and maximum."""
    grey = pixels.mean(dim=1)
    low, high = (extreme(grey, dim=(1, 2), keepdim=True) for extreme in (torch.amin, torch.amax))
    level = ((grey - low) / (high - low).clamp(min=1e-12) * bins).long().clamp(max=bins - 1)
    rows, columns = grey.shape[1] // side, grey.shape[2] // side
    cells = level[:, : rows * side, : columns * side].unflatten(2, (columns, side)).unflatten(1, (rows, side))
    cells = cells.transpose(2, 3).flatten(3)  # (B, rows, columns, side²)
    counts = torch.zeros(*cells.shape[:3], bins, device=pixels.device)
    shares = counts.scatter_add_(3, cells, torch.ones_like(cells, dtype=counts.dtype)) / side**2
    return -torch.xlogy(shares, shares).sum(dim=3) / math.log(2)


def quadtree(
    pixels: Float[Tensor, "B C H W"], side: int, levels: int, threshold: float, detail: Detail
) -> list[Bool[Tensor, "B _ _"]]:
    """Masks of the cells of each level that become patches; level l has cells of side · 2^l pixels.

    From the largest cells down, a cell whose detail is below the threshold becomes a patch; others are split in four.
    Every pixel is in one patch. Regions at the right and bottom that larger cells do not cover have the smallest
    patches.
    """
    batch, rows, columns = pixels.shape[0], pixels.shape[2] // side, pixels.shape[3] // side
    taken = torch.zeros(batch, rows, columns, dtype=torch.bool, device=pixels.device)
    chosen = []
    for level in range(levels - 1, 0, -1):
        reach = 2**level
        if rows < reach or columns < reach:
            chosen.append(taken.new_zeros(batch, rows // reach, columns // reach))
            continue
        plain = detail(pixels, side * reach) < threshold
        free = ~taken[:, : rows // reach * reach : reach, : columns // reach * reach : reach]
        chosen.append(plain & free)
        covered = chosen[-1].repeat_interleave(reach, dim=1).repeat_interleave(reach, dim=2)
        taken = taken | F.pad(covered, (0, columns - covered.shape[2], 0, rows - covered.shape[1]))
    return [~taken, *reversed(chosen)]


def quadtree_cover(levels: list[Bool[Tensor, "B _ _"]]) -> Int[Tensor, "B h w"]:
    """Index of the patch of each cell of the finest grid; patches are numbered by level, then row by row.

    Args:
        levels: the chosen cells of each level, as `quadtree` returns them.
    """
    cover = torch.zeros(levels[0].shape, dtype=torch.long, device=levels[0].device)
    before = cover.new_zeros(cover.shape[0], 1)
    for level, chosen in enumerate(levels):
        number = (chosen.flatten(1).cumsum(1) - 1 + before).view_as(chosen)
        before = before + chosen.flatten(1).sum(1, keepdim=True)
        for axis in (1, 2):
            chosen, number = (part.repeat_interleave(2**level, dim=axis) for part in (chosen, number))
        reached = cover[:, : chosen.shape[1], : chosen.shape[2]]
        reached[chosen] = number[chosen]
    return cover
