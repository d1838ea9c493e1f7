"""Assignment of a dense detector's points to the objects of an image."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..nn import overlaps

_UNSEEN = 0.1
"""Least weight of an object's best point, so that an object that no box overlaps yet is learned too."""


class Assignment(NamedTuple):
    """Targets of the points.

    Attributes:
        objects: (B, Q), index of the point's object; -1 for none.
        weights: (B, Q), from 0 to 1: how well the point detects its object, relative to the object's other points; the
            best has the IoU of its box. 0 without object.
    """

    objects: Int[Tensor, "B Q"]
    weights: Float[Tensor, "B Q"]


@torch.no_grad()
def task_aligned(
    probabilities: Float[Tensor, "B Q K"],
    boxes: Float[Tensor, "B Q 4"],
    points: Float[Tensor, "B Q 2"],
    truth: Float[Tensor, "B M 4"],
    labels: Int[Tensor, "B M"],
    *,
    most: int = 10,
    alpha: float = 0.5,
    beta: float = 6.0,
) -> Assignment:
    """Assign each object to the points inside it that detect it best (Feng et al., 2021, "TOOD", section 3.2).

    A point's score for an object is probability^α · IoU^β, of the object's class and box. The `most` points of the
    highest score detect the object; a point of several objects detects the one that its box overlaps most. An object
    without a point inside it has the nearest.

    Args:
        probabilities: of the classes.
        boxes, truth: predicted and true boxes as edges.
        points: x and y.
        labels: classes of the objects; -1 for padding.
        most, alpha, beta: see above.
    """
    truth, labels = F.pad(truth, (0, 0, 0, 1)), F.pad(labels, (0, 1), value=-1)  # images of a batch without objects
    there = labels >= 0
    iou = overlaps(truth[:, :, None], boxes[:, None])[0]
    kinds = labels.clamp(min=0)[:, :, None].expand(-1, -1, boxes.shape[1])
    scores = probabilities.mT.gather(1, kinds) ** alpha * iou.clamp(min=_UNSEEN / 10) ** beta
    scores = scores.masked_fill(~_candidates(points, truth) | ~there[:, :, None], 0.0)
    best = scores.topk(min(most, scores.shape[2]), dim=2).indices
    chosen = torch.zeros_like(scores, dtype=torch.bool).scatter_(2, best, True) & (scores > 0)
    objects = iou.masked_fill(~chosen, -1.0).argmax(dim=1)
    chosen &= torch.zeros_like(chosen).scatter_(1, objects[:, None], True)
    scores, iou = scores * chosen, iou * chosen
    relative = scores / scores.amax(dim=2, keepdim=True).clamp(min=torch.finfo(scores.dtype).tiny)
    weights = (relative * iou.amax(dim=2, keepdim=True).clamp(min=_UNSEEN)).amax(dim=1)
    return Assignment(objects.masked_fill(~chosen.any(dim=1), -1), weights)


def _candidates(points: Float[Tensor, "B Q 2"], truth: Float[Tensor, "B M 4"]) -> Tensor:
    """(B, M, Q): whether a point is inside an object's box, or the nearest one to its centre if none is."""
    x_y = points[:, None]
    start, end = truth[:, :, None, :2], truth[:, :, None, 2:]
    inside = ((x_y > start) & (x_y < end)).all(dim=3)
    nearest = (x_y - (start + end) / 2).square().sum(dim=3).argmin(dim=2, keepdim=True)
    alone = ~inside.any(dim=2, keepdim=True)
    return inside | torch.zeros_like(inside).scatter_(2, nearest, alone)
