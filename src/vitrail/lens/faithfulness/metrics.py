"""Metrics of attribution maps, one number for each image: against a known object, or between two maps."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

Map = Float[Tensor, "B rows columns"]
Mask = Bool[Tensor, "B H W"]


def enlarged(maps: Map, size: tuple[int, int]) -> Float[Tensor, "B H W"]:
    """Interpolate maps of patches to pixels, bilinearly between the patches' centres."""
    return F.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def pointing(maps: Map, masks: Mask) -> Float[Tensor, " B"]:
    """Whether the maximum of the map, the centre of its highest patch, is on the object.

    The pointing game (Zhang et al., 2016, "Top-down neural attention by excitation backprop", section 4.1), without its
    margin. If several patches are equally high, the result is the fraction of them whose centre is on the object, the
    expected value of a random choice.
    """
    rows, columns = (
        ((torch.arange(cells, device=masks.device) + 0.5) * side / cells).long()
        for side, cells in zip(masks.shape[1:], maps.shape[1:], strict=True)
    )
    return _share_of_the_highest(maps, masks[:, rows][:, :, columns])


def touching(maps: Map, masks: Mask) -> Float[Tensor, " B"]:
    """Whether the highest patch overlaps the object: pointing with a margin of half a patch.

    Maps have the resolution of patches, and a thin object need not be in the centre of a patch. (Zhang et al. allow a
    margin of 15 pixels.)
    """
    held = F.adaptive_max_pool2d(masks[:, None].float(), (maps.shape[1], maps.shape[2]))[:, 0]
    return _share_of_the_highest(maps, held)


def _share_of_the_highest(maps: Map, hit: Float[Tensor, "B rows columns"]) -> Float[Tensor, " B"]:
    highest = maps == maps.amax(dim=(1, 2), keepdim=True)
    return (highest * hit).sum(dim=(1, 2)) / highest.sum(dim=(1, 2)).clamp(min=1)


def overlap(maps: Map, masks: Mask) -> Float[Tensor, " B"]:
    """Intersection over union of the object and the pixels above the mean of the map.

    As Chefer et al. (2021), "Transformer interpretability beyond attention visualization", section 4.1. Negative
    values count as 0.
    """
    fine = enlarged(maps.clamp(min=0), (masks.shape[1], masks.shape[2]))
    marked = fine > fine.mean(dim=(1, 2), keepdim=True)
    return (marked & masks).sum((1, 2)) / (marked | masks).sum((1, 2)).clamp(min=1)


def average_precision(maps: Map, masks: Mask) -> Float[Tensor, " B"]:
    """Average precision of the map as a score for pixels of the object: 1 if these have the highest values.

    Area under the precision-recall curve, with pixels of equal value at one threshold (as scikit-learn's
    `average_precision_score`). Images without an object have none: nan.
    """
    fine = enlarged(maps, (masks.shape[1], masks.shape[2])).flatten(1)
    found = []
    for values, truth in zip(fine, masks.flatten(1), strict=True):
        order = values.argsort(descending=True, stable=True)
        ordered, hits = values[order], truth[order].double().cumsum(0)
        last = torch.cat([ordered[1:] != ordered[:-1], torch.ones(1, dtype=torch.bool, device=values.device)])
        ranks = torch.arange(1, len(ordered) + 1, device=values.device)[last]
        recall = hits[last] / hits[-1]
        found.append((hits[last] / ranks * recall.diff(prepend=recall.new_zeros(1))).sum())
    return torch.stack(found)


def rank_correlation(first: Map, second: Map) -> Float[Tensor, " B"]:
    """Spearman's rank correlation of two maps for each image; 0 if one of them is constant."""
    one, other = (_ranks(maps.flatten(1).double()) for maps in (first, second))
    product = (one * other).sum(dim=1)
    return product / (one.norm(dim=1) * other.norm(dim=1)).clamp(min=torch.finfo(torch.float64).tiny)


def _ranks(values: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """Centred ranks; equal values have their mean rank."""
    below = (values[:, None, :] < values[:, :, None]).sum(dim=2)
    equal = (values[:, None, :] == values[:, :, None]).sum(dim=2)
    ranks = below + (equal - 1) / 2
    return (ranks - ranks.mean(dim=1, keepdim=True)).to(values.dtype)
