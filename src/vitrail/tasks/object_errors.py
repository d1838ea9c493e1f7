"""Objects that a detector has missed, and those that are not there."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Int
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
    """Compare predicted with true objects: each, the most probable first, takes the object that it overlaps most.

    Boxes of the same class that overlap by an IoU of 0.5 belong together. What overlaps a crowd is no error.
    """
    iou = overlaps(predicted.boxes.double()[:, None], truth.boxes.double()[None])[0]
    iou = iou * (predicted.classes[:, None] == truth.classes)
    free = ~truth.crowd
    found = wrong = 0
    for row in iou:
        best = int((row * free).argmax()) if len(row) else -1
        if best >= 0 and row[best] * free[best] >= _RIGHT:
            free[best] = False
            found += 1
        elif not bool((row[truth.crowd] >= _RIGHT).any()):
            wrong += 1
    return ObjectErrors(found, int(free.sum()), wrong)


def counted(classes: Int[Tensor, " n"], names: Sequence[str]) -> str:
    """Objects in words: "2 cat, 1 dog"; the most frequent first."""
    counts = Counter(classes.tolist())
    order = sorted(counts, key=lambda index: (-counts[index], index))
    return ", ".join(f"{counts[index]} {names[index]}" for index in order) or "no objects"
