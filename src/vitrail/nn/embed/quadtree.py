"""Patches whose size follows the content: large where a picture is plain, small where there is detail."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

Detail = Callable[[Float[Tensor, "B C H W"], int], Float[Tensor, "B h w"]]
"""How much detail each cell of a side has: pixels, side -> one number a cell."""


def variance(pixels: Float[Tensor, "B C H W"], side: int) -> Float[Tensor, "B h w"]:
    """The variance of the pixels inside each cell, mean over the channels; whole cells only."""
    mean = F.avg_pool2d(pixels, side)
    return (F.avg_pool2d(pixels.square(), side) - mean.square()).clamp(min=0).mean(dim=1)


def entropy(pixels: Float[Tensor, "B C H W"], side: int, bins: int = 32) -> Float[Tensor, "B h w"]:
    """The entropy, in bits, of the brightness inside each cell, counted in bins between the picture's extremes."""
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
    """Which cells of each level are patches: level l has cells of side · 2^l pixels, and every pixel is in one patch.

    From the largest cells down, one whose detail is below the threshold stays whole; others are cut in four. What the
    larger cells do not reach, at the right and at the bottom, is cut to the smallest.
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
