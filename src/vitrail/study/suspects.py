"""Labels in the order of suspicion, from out-of-fold probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .confident import ClassPair, class_pairs, confident_joint, self_confidence


@dataclass(frozen=True, slots=True)
class Suspect:
    """A label of an image with its out-of-fold probability.

    Attributes:
        index: place of the image in the study.
        label: the given label; for several labels an image "+ CLASS" (given) or "- CLASS" (not given).
        suggestion: the most probable label; for several labels the opposite of `label`.
        probability: out-of-fold probability of the given label.
        suggested_probability: that of the suggestion.
        flagged: whether confident learning counts it as wrong.
    """

    index: int
    label: str
    suggestion: str
    probability: float
    suggested_probability: float
    flagged: bool

    @property
    def suspicion(self) -> float:
        """1 − probability of the given label; the list is in its order."""
        return 1 - self.probability


@dataclass(frozen=True, slots=True)
class Judged:
    """Suspects, estimated number of wrong labels, agreement with the labels, and pairs of classes; see `LabelStudy`."""

    suspects: tuple[Suspect, ...]
    expected: float
    accuracy: float
    pairs: tuple[ClassPair, ...]


def judge(targets: Tensor, probabilities: Float[Tensor, "n K"], names: Sequence[str]) -> Judged:
    """Judgement of labels of one class for each image."""
    labels = targets.argmax(dim=1)
    found = confident_joint(labels, probabilities)
    own, best = self_confidence(labels, probabilities), probabilities.max(dim=1)
    flags = found.flagged(labels)
    suspects = [
        Suspect(
            index,
            names[int(labels[index])],
            names[int(best.indices[index])],
            float(own[index]),
            float(best.values[index]),
            bool(flags[index]),
        )
        for index in own.argsort(stable=True).tolist()
    ]
    right = (best.indices == labels).double().mean().item()
    return Judged(tuple(suspects), found.expected, right, tuple(class_pairs(labels, probabilities)))


def judge_many(targets: Tensor, probabilities: Float[Tensor, "n K"], names: Sequence[str]) -> Judged:
    """Judgement of every class by itself, as one of two labels: given or not."""
    suspects, expected = [], 0.0
    for place, name in enumerate(names):
        labels = targets[:, place].long()
        both = torch.stack([1 - probabilities[:, place], probabilities[:, place]], dim=1)
        found = confident_joint(labels, both)
        own, flags = self_confidence(labels, both), found.flagged(labels)
        expected += found.expected
        suspects += [
            Suspect(
                index, f"{'-+'[given]} {name}", f"{'+-'[given]} {name}", float(own[index]), 1 - float(own[index]), flag
            )
            for index, (given, flag) in enumerate(zip(labels.tolist(), flags.tolist(), strict=True))
            if given or flag
        ]
    suspects.sort(key=lambda suspect: (suspect.probability, suspect.index))
    right = ((probabilities >= 0.5) == (targets == 1)).double().mean().item()
    return Judged(tuple(suspects), expected, right, ())
