"""Boxes as tensors: edges, intersection over union."""

import torch
from jaxtyping import Float
from torch import Tensor


def corners(boxes: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """Convert (centre x, centre y, width, height) to (left, top, right, bottom)."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def centres(boxes: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """Convert (left, top, right, bottom) to (centre x, centre y, width, height)."""
    start, end = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(start + end) / 2, end - start], dim=-1)


def overlaps(
    first: Float[Tensor, "*first 4"], second: Float[Tensor, "*second 4"]
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Intersection over union (IoU), and generalised IoU (Rezatofighi et al., 2019), of boxes as edges.

    The shapes are broadcast: a[:, None] and b[None] give every pair. Two boxes without area have IoU 0.
    """
    start, end = torch.maximum(first[..., :2], second[..., :2]), torch.minimum(first[..., 2:], second[..., 2:])
    both = (end - start).clamp(min=0).prod(dim=-1)
    union = _area(first) + _area(second) - both
    start, end = torch.minimum(first[..., :2], second[..., :2]), torch.maximum(first[..., 2:], second[..., 2:])
    hull = (end - start).prod(dim=-1)
    tiny = torch.finfo(union.dtype).tiny  # only boxes without area have a union or hull below it
    iou = both / union.clamp(min=tiny)
    return iou, iou - (hull - union) / hull.clamp(min=tiny)


def _area(boxes: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch"]:
    return (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)
