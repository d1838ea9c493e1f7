"""Classification metrics, computed from logits and targets."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from ..errors import VitrailError
from .classification_evaluation import ClassEvaluation, ClassScore, Labels, ReliabilityBin, mean
from .outcomes import Metrics
from .worth import mean_margin

ECE_BINS = 15


Scale = Callable[[Float[Tensor, "n K"]], Float[Tensor, "n K"]]
"""Logits -> logits divided by the temperature."""


def score(
    logits: Float[Tensor, "n K"],
    targets: Float[Tensor, "n K"],
    class_names: Sequence[str],
    labels: Labels = "one",
    scale: Scale | None = None,
    thresholds: Float[Tensor, " K"] | None = None,
) -> ClassEvaluation:
    """Compute all metrics of logits and targets.

    Args:
        logits: (n, K), before softmax ("one") or sigmoid ("many").
        targets: (n, K), 1 for the classes of an image, 0 elsewhere: exactly one 1 in a row ("one"), or any number.
        class_names: K names.
        scale: divides logits by the temperature; None: there is none.
        thresholds: probability of each class from which it is predicted ("many"); None: 0.5.

    Raises:
        VitrailError: no images, an image without exactly one label ("one"), wrong shapes, or logits not finite.
    """
    _check(logits, targets, class_names)
    raw = logits.double().cpu()
    logits = scale(raw) if scale else raw
    if labels == "many":
        usual = _score_many(logits, logits > 0, targets.bool(), class_names)
        if thresholds is None:
            return usual
        found = _score_many(logits, logits.sigmoid() >= thresholds, targets.bool(), class_names)
        rows = zip(found.per_class, thresholds.tolist(), strict=True)
        per_class = tuple(replace(row, threshold=threshold) for row, threshold in rows)
        return replace(found, per_class=per_class, raw_macro_f1=usual.macro_f1)
    counts = targets.sum(dim=1)
    if (wrong := (counts != 1).nonzero().flatten()).numel():
        first = int(wrong[0])
        raise VitrailError(f"sample {first} has {counts[first]:.0f} labels, but exactly one is needed: leave it out")
    target = targets.argmax(dim=1)
    found = _score_one(logits, target, class_names)
    return replace(found, raw_ece=_ece(_bins(raw, target))) if scale else found


def _score_one(logits: Float[Tensor, "n K"], target: Int[Tensor, " n"], names: Sequence[str]) -> ClassEvaluation:
    classes = len(names)
    log_probability = F.log_softmax(logits, dim=1)
    predicted = logits.argmax(dim=1)
    ranks = _ranks(logits, target)
    confusion = torch.bincount(target * classes + predicted, minlength=classes**2).view(classes, classes)
    per_class = _per_class(confusion.diag(), confusion.sum(0), confusion.sum(1), names, [None] * classes)
    bins = _bins(logits, target)
    return ClassEvaluation(
        labels="one",
        count=len(target),
        loss=F.nll_loss(log_probability, target).item(),
        loss_margin=mean_margin(F.nll_loss(log_probability, target, reduction="none")),
        per_class=per_class,
        macro_f1=mean([row.f1 for row in per_class]),
        top1=(predicted == target).double().mean().item(),
        top5=(ranks < 5).double().mean().item(),
        ece=_ece(bins),
        reliability=bins,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )


def _bins(logits: Float[Tensor, "n K"], target: Int[Tensor, " n"]) -> tuple[ReliabilityBin, ...]:
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    return reliability(confidence, predicted == target)


def _ece(bins: Sequence[ReliabilityBin]) -> float:
    return sum(row.count * abs(row.accuracy - row.confidence) for row in bins) / sum(row.count for row in bins)


def _score_many(
    logits: Float[Tensor, "n K"], predicted: Bool[Tensor, "n K"], target: Bool[Tensor, "n K"], names: Sequence[str]
) -> ClassEvaluation:
    hits, claims, truths = (predicted & target).sum(0), predicted.sum(0), target.sum(0)
    precisions = [average_precision(logits[:, index], target[:, index]) for index in range(len(names))]
    per_class = _per_class(hits, claims, truths, names, precisions)
    return ClassEvaluation(
        labels="many",
        count=len(target),
        loss=F.binary_cross_entropy_with_logits(logits, target.double()).item(),
        loss_margin=mean_margin(
            F.binary_cross_entropy_with_logits(logits, target.double(), reduction="none").mean(dim=1)
        ),
        per_class=per_class,
        macro_f1=mean([row.f1 for row in per_class]),
        mean_average_precision=mean(precisions),
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


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


class ClassMetrics(Metrics):
    """Collects logits and targets of all batches and computes the metrics in float64; the arguments are `score`'s."""

    def __init__(
        self,
        class_names: Sequence[str],
        labels: Labels,
        scale: Scale | None = None,
        thresholds: Float[Tensor, " K"] | None = None,
    ) -> None:
        self.class_names = class_names
        self.labels: Labels = labels
        self.scale = scale
        self.thresholds = thresholds
        self.logits: list[Tensor] = []
        self.targets: list[Tensor] = []

    def update(self, output: Float[Tensor, "B K"], target: Float[Tensor, "B K"]) -> None:
        """Add the logits of a batch and its targets, 1 for the classes of each image."""
        self.logits.append(output)
        self.targets.append(target)

    @property
    def collected(self) -> tuple[Float[Tensor, "n K"], Float[Tensor, "n K"]]:
        """Logits and targets of all batches."""
        empty = torch.zeros(0, len(self.class_names))
        return torch.cat([empty, *self.logits]), torch.cat([empty, *self.targets])

    def compute(self) -> ClassEvaluation:
        """Compute the metrics over all batches, see `score`."""
        logits, targets = self.collected
        return score(logits, targets, self.class_names, self.labels, self.scale, self.thresholds)
