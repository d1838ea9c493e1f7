"""The objects that a prediction shows: those from a threshold of the probability on, and how right they are."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .average_precision import TrueObjects
from .detected_objects import DetectedObjects
from .object_errors import matched
from .thresholds import fit_threshold

SHOWN = 0.3
"""Usual threshold. The probabilities of a dense detector include how well its box fits, so that even clear objects
seldom have more than 0.9."""

FEWEST_OBJECTS = 30
"""True objects from which a threshold is fitted: with fewer it would be noise."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Detected objects of all images, without those that overlap a crowd.

    Attributes:
        scores: (n,), probabilities.
        right: (n,), whether there is such an object, see `matched`.
        objects: number of true objects.
    """

    scores: Float[Tensor, " n"]
    right: Bool[Tensor, " n"]
    objects: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownScore:
    """How right the objects from a threshold on are, at an IoU of 0.5 and over all classes together.

    Attributes:
        threshold: the probability.
        precision: fraction of them that are right; None if there are none.
        recall: fraction of the true objects that are among them; None if there are no true ones.
        f1: 2 right / (shown + true); None if there are neither.
    """

    threshold: float
    precision: float | None
    recall: float | None
    f1: float | None

    @property
    def words(self) -> str:
        """The three in words, such as "precision 0.81, recall 0.70, F1 0.75"."""
        values = {"precision": self.precision, "recall": self.recall, "F1": self.f1}
        return ", ".join(f"{name} {'–' if value is None else f'{value:.3f}'}" for name, value in values.items())


def candidates(found: Sequence[DetectedObjects], truth: Sequence[TrueObjects]) -> Candidates:
    """Compare the detected objects of each image, the most probable first, with the true ones."""
    scores, right = [torch.zeros(0)], [torch.zeros(0, dtype=torch.bool)]
    for objects, image in zip(found, truth, strict=True):
        hit, ignored = matched(objects, image)
        scores.append(objects.scores[~ignored])
        right.append(hit[~ignored])
    return Candidates(torch.cat(scores), torch.cat(right), sum(int((~image.crowd).sum()) for image in truth))


def fitted_threshold(given: Candidates) -> float | None:
    """The threshold with the largest F1; None if there are few true objects, or none is found.

    It is one for all classes: that of a class with few objects would follow chance.
    """
    if given.objects < FEWEST_OBJECTS or not given.right.any():
        return None
    return fit_threshold(given.scores, given.right, positives=given.objects, usual=SHOWN)


def shown_score(given: Candidates, threshold: float) -> ShownScore:
    """Precision, recall and F1 of the candidates whose probability is at least the threshold."""
    shown = given.scores >= threshold
    right, count = int((shown & given.right).sum()), int(shown.sum())
    return ShownScore(
        threshold=threshold,
        precision=right / count if count else None,
        recall=right / given.objects if given.objects else None,
        f1=2 * right / (count + given.objects) if count + given.objects else None,
    )
