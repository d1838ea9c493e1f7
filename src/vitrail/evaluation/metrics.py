"""How good predictions are: functions of logits and labels, nothing else."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from ..errors import VitrailError

ECE_BINS = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassScore:
    """One class.

    A value is None where it is not defined: the recall and average precision of a class that does not occur,
    the precision of one that is never predicted, the F1 of one that is neither.
    """

    name: str
    support: int
    precision: float | None
    recall: float | None
    f1: float | None
    average_precision: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliabilityBin:
    """The samples whose confidence is in (low, high]: count, mean confidence, part that is right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """How good a model is on labelled samples.

    Attributes:
        task: "single" (one class a sample) or "multi" (any number).
        count: samples.
        loss: mean negative log-likelihood in nats; "multi": mean binary cross-entropy of all decisions.
        per_class: a row for each class, in the order of the logits.
        macro_f1: mean F1 of the classes for which it is defined.
        top1, top5: part of the samples whose class is the first, or among the first five ("single").
        ece: expected calibration error of the first class's probability (Guo et al., 2017, equation 3), 15
            bins.
        reliability: the bins of `ece`.
        confusion: counts, [true class][predicted class].
        mean_average_precision: over the classes that have positives ("multi").
        micro_f1: F1 of all decisions together, at probability 0.5.
        subset_accuracy: part of the samples with every class right, at probability 0.5.
        note: which samples these were.
    """

    task: Literal["single", "multi"]
    count: int
    loss: float
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
    note: str | None = None

    @property
    def quality(self) -> float:
        """What checkpoints are compared by, more is better: top-1, or mean average precision."""
        return (self.top1 if self.task == "single" else self.mean_average_precision) or 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; what the task does not have is left out."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def score(
    logits: Float[Tensor, "n K"],
    labels: Sequence[tuple[int, ...]],
    class_names: Sequence[str],
    task: Literal["single", "multi"] = "single",
) -> Evaluation:
    """Compare logits with labels.

    Args:
        logits: a row a sample, a column a class, before softmax ("single") or sigmoid ("multi").
        labels: the class indices of each sample: exactly one ("single"), or any number ("multi").
        class_names: the names of the columns.

    Raises:
        VitrailError: no samples, a sample without its label, shapes that disagree, or logits that are not
            finite.
    """
    _check(logits, labels, class_names)
    logits = logits.double().cpu()
    if task == "multi":
        return _score_multi(logits, _targets(labels, len(class_names)), class_names)
    wrong = next((index for index, found in enumerate(labels) if len(found) != 1), None)
    if wrong is not None:
        raise VitrailError(f"sample {wrong} has {len(labels[wrong])} labels, exactly one is needed: leave it out")
    return _score_single(logits, torch.tensor([found[0] for found in labels]), class_names)


def _score_single(logits: Float[Tensor, "n K"], target: Int[Tensor, " n"], names: Sequence[str]) -> Evaluation:
    classes = len(names)
    log_probability = F.log_softmax(logits, dim=1)
    confidence, predicted = log_probability.exp().max(dim=1)
    ranks = _ranks(logits, target)
    confusion = torch.bincount(target * classes + predicted, minlength=classes**2).view(classes, classes)
    per_class = _per_class(confusion.diag(), confusion.sum(0), confusion.sum(1), names, [None] * classes)
    bins = reliability(confidence, predicted == target)
    return Evaluation(
        task="single",
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


def _score_multi(logits: Float[Tensor, "n K"], target: Bool[Tensor, "n K"], names: Sequence[str]) -> Evaluation:
    predicted = logits > 0
    hits, claims, truths = (predicted & target).sum(0), predicted.sum(0), target.sum(0)
    precisions = [average_precision(logits[:, index], target[:, index]) for index in range(len(names))]
    per_class = _per_class(hits, claims, truths, names, precisions)
    return Evaluation(
        task="multi",
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
    """Samples by confidence, in bins (0, 1/M], (1/M, 2/M] ... (Guo et al., 2017, section 2); empty: 0."""
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
    """Σ (Rₖ − Rₖ₋₁) Pₖ over the distinct thresholds, not interpolated; None where there is no positive."""
    if not target.any():
        return None
    ordered, order = scores.sort(descending=True)
    hits = target[order].double().cumsum(0)
    # Samples with the same score enter together: only the last of them is a threshold.
    last = torch.cat([ordered[1:] != ordered[:-1], torch.ones(1, dtype=torch.bool)])
    hits, taken = hits[last], torch.arange(1, len(scores) + 1)[last]
    gained = torch.diff(hits, prepend=torch.zeros(1, dtype=hits.dtype))
    return (gained * hits / taken).sum().item() / hits[-1].item()


def _ranks(logits: Float[Tensor, "n K"], target: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """The place of the true class, 0 is first. Of equal logits the lower class index comes first."""
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


def _targets(labels: Sequence[tuple[int, ...]], classes: int) -> Bool[Tensor, "n K"]:
    target = torch.zeros(len(labels), classes, dtype=torch.bool)
    for row, found in enumerate(labels):
        target[row, list(found)] = True
    return target


def _check(logits: Tensor, labels: Sequence[tuple[int, ...]], class_names: Sequence[str]) -> None:
    if not labels:
        raise VitrailError("there are no labelled samples to score: give a source with labels")
    if tuple(logits.shape) != (len(labels), len(class_names)):
        raise VitrailError(
            f"logits have shape {tuple(logits.shape)}: {len(labels)} samples and {len(class_names)} classes "
            f"need ({len(labels)}, {len(class_names)})"
        )
    top = max((index for found in labels for index in found), default=0)
    if top >= len(class_names):
        raise VitrailError(f"label {top} is out of range: there are {len(class_names)} classes, counted from 0")
    if not logits.isfinite().all():
        bad = (~logits.isfinite()).any(dim=1).sum().item()
        raise VitrailError(
            f"logits of {bad} of {len(labels)} samples are not finite: the weights have diverged, or the "
            "precision is too low for them; try float32 or an earlier checkpoint"
        )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
