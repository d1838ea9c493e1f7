"""Few-shot accuracy of frozen features: a ridge classifier on a few images of each class."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...data.seeds import derive, permutation
from .linear import accuracy
from .ridge import fit_ridge

SHOTS = (1, 5, 10, 25)
"""Images of each class that classifiers are fitted on."""

DRAWS = 3
"""Number of random choices of these images."""

_T = 4.302652729911275
"""Quantile 0.975 of Student's t distribution with DRAWS - 1 = 2 degrees of freedom."""


@dataclass(frozen=True, slots=True)
class FewShot:
    """Accuracy with a number of images of each class.

    Attributes:
        shots: images of each class.
        accuracies: accuracy for each draw of the images, 0 to 1; empty if a class has too few images.
        lacking: (class, number of its images) of the class with the fewest, if these are too few; otherwise None.
    """

    shots: int
    accuracies: tuple[float, ...] = ()
    lacking: tuple[int, int] | None = None

    @property
    def mean(self) -> float | None:
        """Mean over the draws; None if there are none."""
        return sum(self.accuracies) / len(self.accuracies) if self.accuracies else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the mean over draws (Student's t), limited to 0 and 1; None if there are none."""
        if not self.accuracies:
            return None
        values = torch.tensor(self.accuracies, dtype=torch.float64)
        margin = _T * values.std().item() / math.sqrt(DRAWS)
        return max(0.0, values.mean().item() - margin), min(1.0, values.mean().item() + margin)


def few_shot(
    train: Float[Tensor, "n D"],
    train_labels: Int[Tensor, " n"],
    test: Float[Tensor, "m D"],
    test_labels: Int[Tensor, " m"],
    shots: Sequence[int] = SHOTS,
    seed: int = 0,
) -> tuple[FewShot, ...]:
    """Accuracy of ridge classifiers on `shots` images of each class, as the mean over three draws of the images.

    Least squares on ±1 on standardised features, with the number of features as strength, so that features of any
    width are penalised alike. The images of a draw with fewer shots are among those with more.

    Args:
        train, train_labels: features to draw from, with their class.
        test, test_labels: features to score on.
        shots: images of each class.
        seed: seed of the draws.
    """
    classes, counts = train_labels.unique(return_counts=True)
    least = int(counts.argmin())
    lacking = int(classes[least]), int(counts[least])
    found = []
    for count in shots:
        if lacking[1] < count:
            found.append(FewShot(count, lacking=lacking))
            continue
        accuracies = []
        for draw in range(DRAWS):
            rows = drawn_of_each(train_labels, classes, count, derive(seed, "few shots", draw))
            ones = (train_labels[rows, None] == classes).double()
            fit = fit_ridge(train[rows], 2 * ones - 1, float(train.shape[1]))
            accuracies.append(accuracy(fit(test), test_labels, classes))
        found.append(FewShot(count, tuple(accuracies)))
    return tuple(found)


def drawn_of_each(labels: Int[Tensor, " n"], classes: Int[Tensor, " K"], count: int, seed: int) -> Int[Tensor, " rows"]:
    """Rows of the first `count` images of each class, in an order that follows from the seed."""
    order = torch.tensor(permutation(len(labels), seed))
    shuffled = labels[order]
    return torch.cat([order[shuffled == each][:count] for each in classes])
