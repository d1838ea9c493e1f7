"""Loss of a dense detector."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..nn import DenseDetections, corners, overlaps
from .assignment import task_aligned


class DenseLosses(NamedTuple):
    """Losses of a batch: of the classes, of the boxes' overlap (1 - GIoU), and of their edges."""

    classes: Tensor
    overlap: Tensor
    edges: Tensor


def dense_detection_loss(
    output: DenseDetections, boxes: Float[Tensor, "B M 4"], labels: Int[Tensor, "B M"]
) -> DenseLosses:
    """Losses of all points, divided by the sum of the weights of those with an object.

    A point's target for the class of its object is its weight, see `task_aligned` (Feng et al., 2021, "TOOD", section
    3.3), with binary cross entropy.

    Args:
        output: of the model.
        boxes: true boxes as left, top, right and bottom edges, as fractions of the image's sides.
        labels: their classes; -1 for padding.
    """
    logits, found = output.logits, corners(output.boxes)
    truth = boxes.to(found.dtype)
    objects, weights = task_aligned(logits.sigmoid(), found, output.points, truth, labels)
    image, point = (objects >= 0).nonzero(as_tuple=True)
    chosen = objects[image, point]
    share = weights[image, point]
    targets = torch.zeros_like(logits)
    targets[image, point, labels[image, chosen]] = share
    total = share.sum().clamp(min=1.0)
    predicted, wanted = found[image, point], truth[image, chosen]
    overlap = (share * (1 - overlaps(predicted, wanted)[1])).sum() / total
    edges = (share[:, None] * (predicted - wanted).abs()).sum() / total
    return DenseLosses(F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / total, overlap, edges)
