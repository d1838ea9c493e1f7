"""Resampling of stored tables of relative positions to another window."""

import torch
from jaxtyping import Float
from torch import Tensor

_STEPS = 19  # of the bisection for the ratio, as many as in timm


def resample_offsets(table: Float[Tensor, "M h"], old: tuple[int, int], new: tuple[int, int]) -> Float[Tensor, "M2 h"]:
    """Resample a table of offsets to another window; rows behind the offsets, of a class token, are unchanged.

    The stored offsets are spread over the new ones with distances that grow geometrically from the centre, so that near
    neighbours keep their meaning; between them it is linear. After Bao et al. (2022, "BEiT", code), as in timm.

    Args:
        table: (2 rows - 1) × (2 columns - 1) offsets, and further rows.
        old, new: (rows, columns) of the windows.
    """
    if new == old:
        return table
    before = (2 * old[0] - 1, 2 * old[1] - 1)
    count = before[0] * before[1]
    rows, columns = (_weights(length, 2 * side - 1) for length, side in zip(before, new, strict=True))
    image = table[:count].double().unflatten(0, before)
    spread = torch.einsum("yr,xc,rch->yxh", rows, columns, image).flatten(0, 1)
    return torch.cat([spread.to(table.dtype), table[count:]])


def _weights(source: int, target: int) -> Float[Tensor, "T S"]:
    """Weights of `source` stored offsets for `target` new ones."""
    reach = source // 2
    if not reach:
        return torch.ones(target, 1, dtype=torch.float64)
    ratio = _ratio(reach, target // 2)
    distances = torch.tensor([ratio**step for step in range(reach)], dtype=torch.float64).cumsum(0)
    places = torch.cat([-distances.flip(0), torch.zeros(1, dtype=torch.float64), distances])
    wanted = torch.arange(target, dtype=torch.float64) - target // 2
    wanted = wanted.clamp(places[0], places[-1])
    right = torch.searchsorted(places, wanted).clamp(1, source - 1)
    share = (wanted - places[right - 1]) / (places[right] - places[right - 1])
    weights, index = torch.zeros(target, source, dtype=torch.float64), torch.arange(target)
    weights[index, right - 1] = 1 - share
    weights[index, right] = share
    return weights


def _ratio(reach: int, target: int) -> float:
    """Ratio of a geometric series of `reach` terms with the sum `target`, between 1.01 and 1.5."""
    low, high = 1.01, 1.5
    ratio = low
    for _ in range(_STEPS):
        ratio = (low + high) / 2
        if sum(ratio**step for step in range(reach)) > target:
            high = ratio
        else:
            low = ratio
    return ratio
