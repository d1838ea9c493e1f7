"""Confident learning: which labels are probably wrong, from out-of-fold probabilities.

Northcutt, Jiang and Chuang (2021), "Confident learning: estimating uncertainty in dataset labels", section 3.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..tasks.worth import wilson


@dataclass(frozen=True, slots=True)
class Confidence:
    """Findings on the labels of n images.

    Attributes:
        joint: (K, K), numbers of images labelled i whose confident class is j; images without one are not counted.
        confident: (n,) the confident class, or -1: of the classes whose probability is at least the mean probability
            of their own images, the most probable.
        expected: estimated number of wrong labels: each row of `joint` is scaled to all images with that label.
    """

    joint: Int[Tensor, "K K"]
    confident: Int[Tensor, " n"]
    expected: float

    def flagged(self, labels: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """Whether the confident class is another one than the label."""
        return (self.confident >= 0) & (self.confident != labels)


def confident_joint(labels: Int[Tensor, " n"], probabilities: Float[Tensor, "n K"]) -> Confidence:
    """Count labels against confident classes."""
    count = probabilities.shape[1]
    allowed = probabilities >= class_thresholds(labels, probabilities)
    best = probabilities.masked_fill(~allowed, -1).argmax(dim=1)
    confident = torch.where(allowed.any(dim=1), best, -1)
    known = confident >= 0
    joint = torch.bincount(labels[known] * count + confident[known], minlength=count * count).reshape(count, count)
    rows = joint.sum(dim=1)
    wrong = torch.where(rows > 0, 1 - joint.diagonal() / rows.clamp(min=1), 0.0)
    return Confidence(joint, confident, float((wrong * torch.bincount(labels, minlength=count)).sum()))


def class_thresholds(labels: Int[Tensor, " n"], probabilities: Float[Tensor, "n K"]) -> Float[Tensor, " K"]:
    """Mean probability of each class among the images with that label; infinite for a class without images."""
    count = probabilities.shape[1]
    own = self_confidence(labels, probabilities)
    sums = torch.zeros(count, dtype=own.dtype).index_add_(0, labels, own)
    sizes = torch.bincount(labels, minlength=count)
    return torch.where(sizes > 0, sums / sizes.clamp(min=1), torch.inf)


def self_confidence(labels: Int[Tensor, " n"], probabilities: Float[Tensor, "n K"]) -> Float[Tensor, " n"]:
    """Probability of the given label."""
    return probabilities.gather(1, labels[:, None])[:, 0]


@dataclass(frozen=True, slots=True)
class ClassPair:
    """Two classes, and how well they are separated.

    Attributes:
        first, second: class indices.
        count: images labelled as one of the two.
        right: images of these whose label is the more probable of the two classes.
        interval: 95 % interval of right / count (Wilson).
    """

    first: int
    second: int
    count: int
    right: int
    interval: tuple[float, float]

    @property
    def accuracy(self) -> float:
        """right / count; 0.5 is guessing."""
        return self.right / self.count

    @property
    def is_guessing(self) -> bool:
        """Whether the interval contains 0.5 or less."""
        return self.interval[0] <= 0.5


def class_pairs(labels: Int[Tensor, " n"], probabilities: Float[Tensor, "n K"], most: int = 20) -> list[ClassPair]:
    """The most confused pairs of classes, by the mean of both recalls, the lowest first.

    Args:
        labels: given labels.
        probabilities: out-of-fold probabilities.
        most: length of the list.
    """
    count = probabilities.shape[1]
    sizes = torch.bincount(labels, minlength=count)
    recall = torch.zeros(count, count)  # [i, j]: share of images labelled i for which i is more probable than j
    for label in range(count):
        own = probabilities[labels == label]
        if len(own):
            recall[label] = (own[:, label : label + 1] > own).float().mean(dim=0)
    balanced = (recall + recall.T) / 2
    balanced[(sizes == 0) | (sizes == 0)[:, None]] = torch.inf
    rows, columns = torch.triu_indices(count, count, offset=1)
    order = balanced[rows, columns].argsort(stable=True)[:most].tolist()
    pairs = [(int(rows[place]), int(columns[place])) for place in order]
    return [_pair(i, j, sizes, recall) for i, j in pairs if bool(torch.isfinite(balanced[i, j]))]


def _pair(first: int, second: int, sizes: Tensor, recall: Tensor) -> ClassPair:
    count = int(sizes[first] + sizes[second])
    right = round(float(recall[first, second] * sizes[first] + recall[second, first] * sizes[second]))
    return ClassPair(first, second, count, right, wilson(right, count))
