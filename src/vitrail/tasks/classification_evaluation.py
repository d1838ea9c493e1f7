"""Evaluation of a classifier: metrics with their uncertainty and baseline, and their words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from .outcomes import Evaluation
from .worth import Baseline, compared, percent_interval, wilson

Labels = Literal["one", "many"]
"""Number of classes of an image: exactly one, or any number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassScore:
    """Metrics of one class.

    A value is None if it is not defined: recall and average precision of a class that does not occur, precision of
    a class that is never predicted, F1 of a class that neither occurs nor is predicted. `threshold` is the probability
    from which the class is predicted, if it was fitted.
    """

    name: str
    support: int
    precision: float | None
    recall: float | None
    f1: float | None
    average_precision: float | None = None
    threshold: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliabilityBin:
    """Samples whose confidence is in (low, high]: count, mean confidence and accuracy."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassEvaluation(Evaluation):
    """Evaluation of a classifier on labelled images.

    `loss` is the mean negative log-likelihood in nats; with many labels, the mean binary cross entropy.

    Attributes:
        labels: "one" class for each image, or "many".
        per_class: metrics of each class, in the order of the logits.
        macro_f1: mean F1 over the classes for which it is defined.
        top1, top5: fraction of the images whose class is the most probable, or among the five most probable ("one").
        ece: expected calibration error of the largest probability (Guo et al., 2017, equation 3), 15 bins ("one").
        raw_ece: `ece` without the checkpoint's temperature, if it has one ("one").
        reliability: the bins of `ece` ("one").
        confusion: counts, [true class][predicted class] ("one").
        mean_average_precision: mean over the classes that have positives ("many").
        micro_f1: F1 over all decisions, at the thresholds of the classes ("many").
        subset_accuracy: fraction of the images with all classes right, at these thresholds ("many").
        raw_macro_f1: `macro_f1` with thresholds of 0.5, if the checkpoint has others ("many").
    """

    labels: Labels
    per_class: tuple[ClassScore, ...]
    macro_f1: float | None
    top1: float | None = None
    top5: float | None = None
    ece: float | None = None
    raw_ece: float | None = None
    reliability: tuple[ReliabilityBin, ...] | None = None
    confusion: tuple[tuple[int, ...], ...] | None = None
    mean_average_precision: float | None = None
    micro_f1: float | None = None
    subset_accuracy: float | None = None
    raw_macro_f1: float | None = None

    @property
    def quality(self) -> float:
        """Top-1 accuracy, or mean average precision."""
        return (self.top1 if self.labels == "one" else self.mean_average_precision) or 0.0

    @property
    def top1_interval(self) -> tuple[float, float] | None:
        """95 % interval of the top-1 accuracy (Wilson, 1927); None with many labels."""
        return None if self.top1 is None else wilson(round(self.top1 * self.count), self.count)

    @property
    def majority(self) -> tuple[str, float] | None:
        """Most frequent class of the images, and its fraction of them: the accuracy of always answering it.

        None with many labels, or if there are only images of this class.
        """
        most = max(self.per_class, key=lambda row: row.support)
        return (most.name, most.support / self.count) if self.labels == "one" and most.support < self.count else None

    @property
    def prevalence(self) -> float | None:
        """Expected mean average precision of a random order: the mean fraction of positives; None with one label."""
        present = [row.support / self.count for row in self.per_class if row.support]
        return mean(present) if self.labels == "many" else None

    def baseline(self) -> Baseline | None:
        """Always answering the most frequent class, or ordering the images at random."""
        if self.majority and self.top1 is not None and self.top1_interval:
            name, rate = self.majority
            model = compared(self.top1, self.top1_interval[0], rate)
            return Baseline(answer=f"always answering {name}", value=f"{100 * rate:.2f} %", model=model)
        if self.prevalence is not None and self.mean_average_precision is not None:
            model = compared(self.mean_average_precision, None, self.prevalence)
            return Baseline(answer="a random order", value=f"{100 * self.prevalence:.2f} %", model=model)
        return None

    def cautions(self) -> list[str]:
        return [*Evaluation.cautions(self), *self._one_answer()]

    def _one_answer(self) -> list[str]:
        """A sentence if all images are predicted as one class, though they are of several."""
        if self.confusion is None or self.majority is None:
            return []
        predicted = [
            row.name
            for row, column in zip(self.per_class, zip(*self.confusion, strict=True), strict=True)
            if any(column)
        ]
        return [f"The model predicts {predicted[0]} for every image."] if len(predicted) == 1 else []

    def headline(self) -> dict[str, float]:
        """Loss, accuracy and calibration, or mean average precision and F1; top-5 only with more than five classes."""
        found = {
            "loss": self.loss,
            "top1": self.top1,
            "top5": self.top5 if len(self.per_class) > 5 else None,
            "ece": self.ece,
            "mean_average_precision": self.mean_average_precision,
            "micro_f1": self.micro_f1,
            "subset_accuracy": self.subset_accuracy,
        }
        return {name: value for name, value in found.items() if value is not None}

    def facts(self) -> list[tuple[str, str]]:
        """(name, value) of the main metrics, in per cent, with the baseline."""
        baseline = self.baseline()
        values = [
            ("top-5 accuracy", self.top5 if len(self.per_class) > 5 else None),
            ("mean average precision", self.mean_average_precision),
            ("F1, mean over classes", self.macro_f1),
        ]
        rows = [(name, f"{100 * value:.2f} %") for name, value in values if value is not None]
        compared_with = [(baseline.answer, baseline.value)] if baseline else []
        found = [*self._accuracy(), *rows]
        return [*found[:1], *compared_with, *found[1:]]

    def _accuracy(self) -> list[tuple[str, str]]:
        if self.top1 is None or self.top1_interval is None:
            return []
        words = f"{100 * self.top1:.2f} % ({percent_interval(self.top1_interval)})"
        return [("top-1 accuracy (95 % interval)", words)]

    def card_metrics(self) -> dict[str, float]:
        """Metric type, as on the model hubs -> value."""
        found = {"accuracy": self.top1, "map": self.mean_average_precision, "f1": self.macro_f1}
        return {name: value for name, value in found.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; metrics that do not apply are left out."""
        name, rate = self.majority or (None, None)
        derived = {"top1_interval": self.top1_interval, "majority_class": name, "majority_rate": rate}
        derived |= {"prevalence": self.prevalence}
        return {key: value for key, value in {**asdict(self), **derived}.items() if value is not None}


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are defined; None if there are none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
