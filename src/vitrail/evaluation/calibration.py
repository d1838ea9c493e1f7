"""Calibration errors of classifiers, from logits and labels."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..data.seeds import permutation
from ..errors import VitrailError
from ..tasks.classification_evaluation import ReliabilityBin
from ..tasks.classification_metrics import reliability
from ..tasks.temperature import fit_temperature


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibration errors of a classifier.

    Attributes:
        ece: expected calibration error, 15 bins (Guo et al., 2017, "On calibration of modern neural networks").
        brier: mean over images of Σ (probability − truth)² over the classes, 0 to 2 (Brier, 1950).
        loss: negative log-likelihood in nats.
        bins: the bins of `ece`.
    """

    ece: float
    brier: float
    loss: float
    bins: tuple[ReliabilityBin, ...]


def calibration(logits: Float[Tensor, "n K"], target: Int[Tensor, " n"]) -> Calibration:
    """Compute the calibration of a classifier on labelled images.

    Raises:
        VitrailError: no images.
    """
    if not len(logits):
        raise VitrailError("there is no image to measure calibration on: give a source with labels")
    logits = logits.double()
    confidence, predicted = logits.log_softmax(dim=1).exp().max(dim=1)
    bins = reliability(confidence, predicted == target)
    ece = sum(row.count * abs(row.accuracy - row.confidence) for row in bins) / len(target)
    brier = brier_scores(logits, target).mean().item()
    return Calibration(ece, brier, F.cross_entropy(logits, target).item(), bins)


def brier_scores(logits: Float[Tensor, "n K"], target: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Σ (probability − truth)² over the classes of each image, 0 to 2 (Brier, 1950)."""
    probabilities = logits.double().softmax(dim=1)
    return (probabilities - F.one_hot(target, logits.shape[1])).square().sum(dim=1)


def cross_fitted(logits: Float[Tensor, "n K"], target: Int[Tensor, " n"], seed: int = 0) -> Float[Tensor, "n K"]:
    """Divide logits by temperatures fitted on other images: each half uses the temperature of the other half.

    For sources without a validation part.

    Raises:
        VitrailError: fewer than two images.
    """
    if len(logits) < 2:
        raise VitrailError(f"{len(logits)} images cannot be halved: give 2 or more")
    order = torch.tensor(permutation(len(logits), seed))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    cooled = logits.double().clone()
    for fitted, used in (halves, halves[::-1]):
        cooled[used] /= fit_temperature(logits[fitted], target[fitted])
    return cooled
