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
    truth, labels = F.pad(boxes.to(found.dtype), (0, 0, 0, 1)), F.pad(labels, (0, 1), value=-1)  # also without objects
    objects, weights = task_aligned(logits.sigmoid(), found, output.points, truth, labels)
    # Of all points, so that shapes do not depend on values: those without an object have the weight 0.
    chosen = objects.clamp(min=0)
    kinds = labels.gather(1, chosen).clamp(min=0)
    targets = torch.zeros_like(logits).scatter_(2, kinds[..., None], weights[..., None])
    total = weights.sum().clamp(min=1.0)
    wanted = truth.gather(1, chosen[..., None].expand(-1, -1, 4))
    overlap = (weights * (1 - overlaps(found, wanted)[1])).sum() / total
    edges = (weights[..., None] * (found - wanted).abs()).sum() / total
    return DenseLosses(F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / total, overlap, edges)
