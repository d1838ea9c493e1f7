"""DETR's loss: every object has one query, and the others predict "no object"."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import VitrailError
from ..nn import Detections, centres, corners, overlaps

CLASS_COST, EDGE_COST, OVERLAP_COST = 1.0, 5.0, 2.0
"""Weights of class, L1 distance and GIoU, in the matching and in the loss (Carion et al., 2020, appendix A.4)."""


class SetLosses(NamedTuple):
    """Losses of a batch: of the classes, of the boxes' L1 distance, and of their overlap (1 - GIoU)."""

    classes: Tensor
    edges: Tensor
    overlap: Tensor

    @property
    def total(self) -> Tensor:
        """Weighted sum."""
        return CLASS_COST * self.classes + EDGE_COST * self.edges + OVERLAP_COST * self.overlap


def set_loss(
    output: Detections, boxes: Float[Tensor, "B M 4"], labels: Int[Tensor, "B M"], *, no_object: float = 0.1
) -> SetLosses:
    """Losses of the queries after the cheapest matching with the objects (Carion et al., 2020, "DETR", section 3.1).

    The loss of the classes is the weighted mean of cross entropies; those of the boxes are sums divided by the number
    of objects in the batch, or by 1 if there are none.

    Args:
        output: of the model.
        boxes: true boxes as left, top, right and bottom edges, as fractions of the image's sides.
        labels: their classes; -1 for padding.
        no_object: weight of "no object" in the loss of the classes.
    """
    image, query, chosen = match(output, boxes, labels)
    classes = output.logits.shape[2]
    wanted = torch.full(output.logits.shape[:2], classes - 1, device=labels.device)
    wanted[image, query] = labels[image, chosen]
    weights = output.logits.new_ones(classes)
    weights[-1] = no_object
    found, truth = output.boxes[image, query], centres(boxes[image, chosen].to(output.boxes.dtype))
    count = (labels >= 0).sum().clamp(min=1)
    return SetLosses(
        F.cross_entropy(output.logits.flatten(0, 1), wanted.flatten(), weights),
        (found - truth).abs().sum() / count,
        (1 - overlaps(corners(found), corners(truth))[1]).sum() / count,
    )


@torch.no_grad()
def match(
    output: Detections, boxes: Float[Tensor, "B M 4"], labels: Int[Tensor, "B M"]
) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Match objects and queries of each image at the least total cost: (image, query, object) of each pair.

    If there are more objects than queries, some have none.

    Raises:
        VitrailError: SciPy is not installed.
    """
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        raise VitrailError(
            "matching objects with a DETR's queries needs SciPy: run `pip install 'vitrail[detection]'`"
        ) from None

    costs = pair_costs(output, boxes, labels).cpu()
    pairs: list[tuple[int, int, int]] = []
    for image, there in enumerate((labels >= 0).cpu()):
        objects = there.nonzero().flatten()
        rows, columns = linear_sum_assignment(costs[image][:, objects].numpy())
        pairs += [(image, int(row), int(objects[column])) for row, column in zip(rows, columns, strict=True)]
    image_query_object = torch.tensor(pairs, dtype=torch.long, device=labels.device).reshape(-1, 3)
    first, second, third = image_query_object.unbind(1)
    return first, second, third


def pair_costs(output: Detections, boxes: Float[Tensor, "B M 4"], labels: Int[Tensor, "B M"]) -> Float[Tensor, "B Q M"]:
    """Cost of each query for each object; of padding, any finite number.

    Costs that are not finite, as of a model that has diverged, become the largest number: such pairs come last.
    """
    edges = boxes.to(output.boxes.dtype)
    kinds = labels.clamp(min=0)[:, None].expand(-1, output.logits.shape[1], -1)
    probability = output.logits.softmax(dim=2).gather(2, kinds)
    distance = (output.boxes[:, :, None] - centres(edges)[:, None]).abs().sum(dim=3)
    giou = overlaps(corners(output.boxes)[:, :, None], edges[:, None])[1]
    costs = EDGE_COST * distance - CLASS_COST * probability - OVERLAP_COST * giou
    most = torch.finfo(costs.dtype).max
    return torch.nan_to_num(costs, nan=most, posinf=most, neginf=most)
