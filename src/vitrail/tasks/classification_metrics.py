"""Classification metrics, computed from logits and targets."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from ..errors import VitrailError
from .task import Evaluation, Metrics

Labels = Literal["one", "many"]
"""Number of classes of an image: exactly one, or any number."""

ECE_BINS = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassScore:
    """Metrics of one class.

    A value is None if it is not defined: recall and average precision of a class that does not occur, precision of
    a class that is never predicted, F1 of a class that neither occurs nor is predicted.
    """

    name: str
    support: int
    precision: float | None
    recall: float | None
    f1: float | None
    average_precision: float | None = None


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
        reliability: the bins of `ece` ("one").
        confusion: counts, [true class][predicted class] ("one").
        mean_average_precision: mean over the classes that have positives ("many").
        micro_f1: F1 over all decisions, at probability 0.5 ("many").
        subset_accuracy: fraction of the images with all classes right, at probability 0.5 ("many").
    """

    labels: Labels
    per_class: tuple[ClassScore, ...]
    macro_f1: float | None
    top1: float | None = None
    top5: float | None = None
    ece: float | None = None
    reliability: tuple[ReliabilityBin, ...] | None = None
    confusion: tuple[tuple[int, ...], ...] | None = None
    mean_average_precision: float | None = None
    micro_f1: float | None = None
    subset_accuracy: float | None = None

    @property
    def quality(self) -> float:
        """Top-1 accuracy, or mean average precision."""
        return (self.top1 if self.labels == "one" else self.mean_average_precision) or 0.0

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
        """(name, value) of the main metrics, in per cent."""
        values = [
            ("top-1 accuracy", self.top1),
            ("top-5 accuracy", self.top5 if len(self.per_class) > 5 else None),
            ("mean average precision", self.mean_average_precision),
            ("F1, mean over classes", self.macro_f1),
        ]
        return [(name, f"{100 * value:.2f} %") for name, value in values if value is not None]

    def card_metrics(self) -> dict[str, float]:
        """Metric type, as on the model hubs -> value."""
        found = {"accuracy": self.top1, "map": self.mean_average_precision, "f1": self.macro_f1}
        return {name: value for name, value in found.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; metrics that do not apply are left out."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def score(
    logits: Float[Tensor, "n K"], targets: Float[Tensor, "n K"], class_names: Sequence[str], labels: Labels = "one"
) -> ClassEvaluation:
    """Compute all metrics of logits and targets.

    Args:
        logits: (n, K), before softmax ("one") or sigmoid ("many").
        targets: (n, K), 1 for the classes of an image, 0 elsewhere: exactly one 1 in a row ("one"), or any number.
        class_names: K names.

    Raises:
        VitrailError: no images, an image without exactly one label ("one"), wrong shapes, or logits not finite.
    """
    _check(logits, targets, class_names)
    logits = logits.double().cpu()
    if labels == "many":
        return _score_many(logits, targets.bool(), class_names)
    counts = targets.sum(dim=1)
    if (wrong := (counts != 1).nonzero().flatten()).numel():
        first = int(wrong[0])
        raise VitrailError(f"sample {first} has {counts[first]:.0f} labels, but exactly one is needed: leave it out")
    return _score_one(logits, targets.argmax(dim=1), class_names)


def _score_one(logits: Float[Tensor, "n K"], target: Int[Tensor, " n"], names: Sequence[str]) -> ClassEvaluation:
    classes = len(names)
    log_probability = F.log_softmax(logits, dim=1)
    confidence, predicted = log_probability.exp().max(dim=1)
    ranks = _ranks(logits, target)
    confusion = torch.bincount(target * classes + predicted, minlength=classes**2).view(classes, classes)
    per_class = _per_class(confusion.diag(), confusion.sum(0), confusion.sum(1), names, [None] * classes)
    bins = reliability(confidence, predicted == target)
    return ClassEvaluation(
        labels="one",
        count=len(target),
        loss=F.nll_loss(log_probability, target).item(),
        per_class=per_class,
        macro_f1=_mean([row.f1 for row in per_class]),
        top1=(predicted == target).double().mean().item(),
        top5=(ranks < 5).double().mean().item(),
        ece=sum(row.count * abs(row.accuracy - row.confidence) for row in bins) / len(target),
        reliability=bins,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )


def _score_many(logits: Float[Tensor, "n K"], target: Bool[Tensor, "n K"], names: Sequence[str]) -> ClassEvaluation:
    predicted = logits > 0
    hits, claims, truths = (predicted & target).sum(0), predicted.sum(0), target.sum(0)
    precisions = [average_precision(logits[:, index], target[:, index]) for index in range(len(names))]
    per_class = _per_class(hits, claims, truths, names, precisions)
    return ClassEvaluation(
        labels="many",
        count=len(target),
        loss=F.binary_cross_entropy_with_logits(logits, target.double()).item(),
        per_class=per_class,
        macro_f1=_mean([row.f1 for row in per_class]),
        mean_average_precision=_mean(precisions),
        micro_f1=_ratio(2 * hits.sum().item(), (claims.sum() + truths.sum()).item()),
        subset_accuracy=(predicted == target).all(dim=1).double().mean().item(),
    )


def reliability(
    confidence: Float[Tensor, " n"], correct: Bool[Tensor, " n"], bins: int = ECE_BINS
) -> tuple[ReliabilityBin, ...]:
    """Bin samples by confidence into (0, 1/M], (1/M, 2/M] ... (Guo et al., 2017, section 2); an empty bin has 0."""
    index = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
    counts = torch.bincount(index, minlength=bins)
    divisor = counts.clamp(min=1)
    confidences = torch.bincount(index, weights=confidence, minlength=bins) / divisor
    accuracies = torch.bincount(index, weights=correct.double(), minlength=bins) / divisor
    return tuple(
        ReliabilityBin(low=row / bins, high=(row + 1) / bins, count=count, confidence=mean, accuracy=accuracy)
        for row, (count, mean, accuracy) in enumerate(
            zip(counts.tolist(), confidences.tolist(), accuracies.tolist(), strict=True)
        )
    )


def average_precision(scores: Float[Tensor, " n"], target: Bool[Tensor, " n"]) -> float | None:
    """Average precision Σ (Rₖ − Rₖ₋₁) Pₖ over distinct thresholds, not interpolated; None without positives."""
    if not target.any():
        return None
    ordered, order = scores.sort(descending=True)
    hits = target[order].double().cumsum(0)
    # Samples with the same score share one threshold: the last of them.
    last = torch.cat([ordered[1:] != ordered[:-1], torch.ones(1, dtype=torch.bool)])
    hits, taken = hits[last], torch.arange(1, len(scores) + 1)[last]
    gained = torch.diff(hits, prepend=torch.zeros(1, dtype=hits.dtype))
    return (gained * hits / taken).sum().item() / hits[-1].item()


def _ranks(logits: Float[Tensor, "n K"], target: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Rank of the true class, from 0. Among equal logits the lower class index is first."""
    own = logits.gather(1, target[:, None])
    earlier = torch.arange(logits.shape[1]) < target[:, None]
    return ((logits > own) | ((logits == own) & earlier)).sum(dim=1)


def _per_class(
    hits: Int[Tensor, " K"],
    claims: Int[Tensor, " K"],
    truths: Int[Tensor, " K"],
    names: Sequence[str],
    precisions: Sequence[float | None],
) -> tuple[ClassScore, ...]:
    rows = zip(names, hits.tolist(), claims.tolist(), truths.tolist(), precisions, strict=True)
    return tuple(
        ClassScore(
            name=name,
            support=truth,
            precision=_ratio(hit, claim),
            recall=_ratio(hit, truth),
            f1=_ratio(2 * hit, claim + truth),
            average_precision=precision,
        )
        for name, hit, claim, truth, precision in rows
    )


def _check(logits: Tensor, targets: Tensor, class_names: Sequence[str]) -> None:
    if not len(targets):
        raise VitrailError("there are no labelled images to score: give a source with labels")
    if tuple(logits.shape) != (len(targets), len(class_names)) or logits.shape != targets.shape:
        raise VitrailError(
            f"logits have shape {tuple(logits.shape)}: {len(targets)} images and {len(class_names)} classes "
            f"need ({len(targets)}, {len(class_names)})"
        )
    if not logits.isfinite().all():
        bad = (~logits.isfinite()).any(dim=1).sum().item()
        raise VitrailError(
            f"logits of {bad} of {len(targets)} images are not finite: the weights have diverged, or the "
            "precision is too low for them; try float32 or an earlier checkpoint"
        )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


class ClassMetrics(Metrics):
    """Collects logits and targets of all batches and computes the metrics in float64."""

    def __init__(self, class_names: Sequence[str], labels: Labels) -> None:
        self.class_names = class_names
        self.labels: Labels = labels
        self.logits: list[Tensor] = []
        self.targets: list[Tensor] = []

    def update(self, output: Float[Tensor, "B K"], target: Float[Tensor, "B K"]) -> None:
        """Add the logits of a batch and its targets, 1 for the classes of each image."""
        self.logits.append(output)
        self.targets.append(target)

    def compute(self) -> ClassEvaluation:
        """Compute the metrics over all batches, see `score`."""
        empty = torch.zeros(0, len(self.class_names))
        return score(torch.cat([empty, *self.logits]), torch.cat([empty, *self.targets]), self.class_names, self.labels)
