"""Whether a model knows how sure it may be: functions of logits and labels."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..data.seeds import permutation
from ..errors import VitrailError
from ..tasks.classification_metrics import ReliabilityBin, reliability

_COLDEST, _HOTTEST = 1e-2, 1e2
_HALVINGS = 60


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far confidence can be believed.

    Attributes:
        ece: expected calibration error, 15 bins (Guo et al., 2017, "On calibration of modern neural networks").
        brier: mean over pictures of Σ (probability − truth)² over the classes, 0 to 2 (Brier, 1950).
        loss: negative log-likelihood in nats.
        bins: of `ece`.
    """

    ece: float
    brier: float
    loss: float
    bins: tuple[ReliabilityBin, ...]


def calibration(logits: Float[Tensor, "n K"], target: Int[Tensor, " n"]) -> Calibration:
    """Compare how sure the model is with how often it is right.

    Raises:
        VitrailError: no pictures.
    """
    if not len(logits):
        raise VitrailError("there is no picture to measure calibration on: give a source with labels")
    logits = logits.double()
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    bins = reliability(confidence, predicted == target)
    ece = sum(row.count * abs(row.accuracy - row.confidence) for row in bins) / len(target)
    brier = brier_scores(logits, target).mean().item()
    return Calibration(ece, brier, F.cross_entropy(logits, target).item(), bins)


def brier_scores(logits: Float[Tensor, "n K"], target: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Of each picture Σ (probability − truth)² over the classes, 0 to 2 (Brier, 1950)."""
    chances = logits.double().softmax(dim=1)
    return (chances - F.one_hot(target, logits.shape[1])).square().sum(dim=1)


def fit_temperature(logits: Float[Tensor, "n K"], target: Int[Tensor, " n"]) -> float:
    """The T for which softmax(logits / T) has the least loss (Guo et al., 2017, section 4.2), from 0.01 to 100.

    The loss is convex in 1 / T, so its slope is halved in upon. Where every picture is right, no T is the best and the
    lowest is given; where chance would be better, the highest.

    Raises:
        VitrailError: no pictures.
    """
    if not len(logits):
        raise VitrailError("there is no picture to fit a temperature on: give a source with a val part")
    logits = logits.double()
    own = logits.gather(1, target[:, None])[:, 0]
    low, high = math.log(_COLDEST), math.log(_HOTTEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        expected = ((logits / math.exp(middle)).softmax(dim=1) * logits).sum(dim=1)
        # The slope of the loss in 1 / T: positive where it is too cold.
        low, high = (middle, high) if (expected - own).mean() > 0 else (low, middle)
    return math.exp((low + high) / 2)


def cross_fitted(logits: Float[Tensor, "n K"], target: Int[Tensor, " n"], seed: int = 0) -> Float[Tensor, "n K"]:
    """The logits over temperatures that were fitted on other pictures: each half has that of the other.

    For want of a val part; with one, fit there.

    Raises:
        VitrailError: fewer than two pictures.
    """
    if len(logits) < 2:
        raise VitrailError("one picture cannot be divided: give more of them")
    order = torch.tensor(permutation(len(logits), seed))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    cooled = logits.double().clone()
    for fitted, used in (halves, halves[::-1]):
        cooled[used] /= fit_temperature(logits[fitted], target[fitted])
    return cooled
