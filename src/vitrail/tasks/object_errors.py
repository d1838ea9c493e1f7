"""Objects that a detector has missed, and those that are not there."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ..nn import overlaps
from .average_precision import TrueObjects
from .detected_objects import DetectedObjects

_RIGHT = 0.5
"""Least IoU of a box with that of its object."""


@dataclass(frozen=True, slots=True)
class ObjectErrors:
    """Number of objects that are found, missed, and predicted without being there or with another class."""

    found: int
    missed: int
    wrong: int

    @property
    def share(self) -> float:
        """Errors as a fraction of true and predicted objects, from 0 to 1; 0 if there are neither."""
        errors = self.missed + self.wrong
        return errors / max(1, errors + self.found)


def object_errors(predicted: DetectedObjects, truth: TrueObjects) -> ObjectErrors:
    """Count found, missed and wrong objects of an image, see `matched`."""
    right, ignored = matched(predicted, truth)
    found = int(right.sum())
    return ObjectErrors(found, int((~truth.crowd).sum()) - found, len(right) - found - int(ignored.sum()))


def matched(predicted: DetectedObjects, truth: TrueObjects) -> tuple[Bool[Tensor, " n"], Bool[Tensor, " n"]]:
    """Whether each predicted object is right, and whether it is neither right nor wrong because it overlaps a crowd.

    Boxes of the same class that overlap by an IoU of 0.5 belong together; each predicted object, the most probable
    first, takes the free one that it overlaps most. So leaving out the least probable ones changes nothing for the
    others.
    """
    iou = overlaps(predicted.boxes.double()[:, None], truth.boxes.double()[None])[0]
    iou = iou * (predicted.classes[:, None] == truth.classes)
    free = ~truth.crowd
    right, near = torch.zeros(len(iou), dtype=torch.bool), (iou >= _RIGHT).any(dim=1)
    for index in near.nonzero().flatten().tolist():
        row = iou[index] * free
        best = int(row.argmax())
        if row[best] >= _RIGHT:
            free[best], right[index] = False, True
    return right, ~right & (iou[:, truth.crowd] >= _RIGHT).any(dim=1)


def counted(classes: Int[Tensor, " n"], names: Sequence[str]) -> str:
    """Objects in words: "2 cat, 1 dog"; the most frequent first."""
    counts = Counter(classes.tolist())
    order = sorted(counts, key=lambda index: (-counts[index], index))
    return ", ".join(f"{counts[index]} {names[index]}" for index in order) or "no objects"
