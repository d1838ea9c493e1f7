"""All probes on the features of one source: kNN, linear, few-shot."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from ...errors import VitrailError
from ...tasks.classification_metrics import average_precision
from ...tasks.worth import wilson
from .collapse import effective_rank, spread
from .few_shot import FewShot, few_shot
from .knn import NEIGHBOURS, knn_scores
from .logistic import fit_best_logistic, sigmoid_loss, softmax_loss

Unit = Literal["share", "number"]


@dataclass(frozen=True, slots=True)
class ProbeScore:
    """Result of one probe.

    Attributes:
        name: name of the probe.
        value: accuracy or mean average precision, 0 to 1, or a number (`unit`); None if it could not be measured.
        interval: 95 % interval: of an accuracy over the test images, of few shots over the draws; None without one.
        note: why there is no value, or a detail.
        unit: "share" or "number".
    """

    name: str
    value: float | None
    interval: tuple[float, float] | None = None
    note: str = ""
    unit: Unit = "share"


def probe_scores(
    train: Float[Tensor, "n D"],
    train_targets: Float[Tensor, "n K"],
    test: Float[Tensor, "m D"],
    test_targets: Float[Tensor, "m K"],
    names: Sequence[str],
    *,
    many: bool = False,
    seed: int = 0,
) -> tuple[ProbeScore, ...]:
    """Scores of all probes: accuracy with one label for each image, mean average precision with many.

    Args:
        train, train_targets: features to fit on, and 1 for the classes of each image.
        test, test_targets: features to score on.
        names: names of the classes, for notes.
        many: whether an image has any number of classes.
        seed: seed of the held-out part of the linear probe and of the few shots.

    Raises:
        VitrailError: no images to score, or fewer than two classes to fit on.
    """
    if not len(test):
        raise VitrailError("there is no image to score the probes on: give a source with a test part")
    if not many and (train_targets.sum(dim=0) > 0).sum() < 2:
        raise VitrailError("probes need images of two classes or more to learn from")
    rows = [] if many else [_majority(train_targets, test_targets, names)]
    there = [k for k in NEIGHBOURS if k <= len(train)]
    votes = knn_scores(train, train_targets, test, there) if there else {}
    for k in NEIGHBOURS:
        name = f"kNN, k = {k}"
        too_few = ProbeScore(name, None, note=f"too few images: there are {len(train)} to compare with")
        rows.append(_scored(name, votes[k], test_targets, many) if k in votes else too_few)
    fit, strength = fit_best_logistic(train, train_targets, sigmoid_loss if many else softmax_loss, seed=seed)
    rows.append(_scored("linear", fit(test), test_targets, many, note=f"L2 strength {strength:g}"))
    if not many:
        found = few_shot(train, train_targets.argmax(dim=1), test, test_targets.argmax(dim=1), seed=seed)
        rows += [_few(each, names) for each in found]
    rows.append(ProbeScore("effective rank", effective_rank(test), unit="number"))
    rows.append(ProbeScore("spread", spread(test), unit="number"))
    return tuple(rows)


def _scored(name: str, scores: Tensor, targets: Tensor, many: bool, note: str = "") -> ProbeScore:
    if many:
        precisions = [average_precision(scores[:, k], targets[:, k].bool()) for k in range(targets.shape[1])]
        known = [each for each in precisions if each is not None]
        if not known:
            return ProbeScore(name, None, note="no test image has a class")
        return ProbeScore(name, sum(known) / len(known), note=note)
    hits = int((scores.argmax(dim=1) == targets.argmax(dim=1)).sum())
    return ProbeScore(name, hits / len(targets), wilson(hits, len(targets)), note)


def _majority(train_targets: Tensor, test_targets: Tensor, names: Sequence[str]) -> ProbeScore:
    """Accuracy of predicting the most common class of the training part for every image."""
    most = int(train_targets.sum(dim=0).argmax())
    hits = int((test_targets.argmax(dim=1) == most).sum())
    return ProbeScore("majority class", hits / len(test_targets), wilson(hits, len(test_targets)), names[most])


def _few(found: FewShot, names: Sequence[str]) -> ProbeScore:
    name = f"{found.shots} image{'s' * (found.shots > 1)} a class"
    if found.lacking is None:
        return ProbeScore(name, found.mean, found.interval)
    least, count = found.lacking
    return ProbeScore(name, None, note=f"too few images: {names[least]} has {count} to fit on")
