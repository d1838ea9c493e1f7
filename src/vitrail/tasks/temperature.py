"""Calibration: a temperature by which logits are divided, and a floor, so that probabilities agree with frequencies."""

import math
from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import VitrailError

FEWEST_FITTED = 30
"""Images from which a temperature is fitted: with fewer it would be noise."""

_COLDEST, _HOTTEST = 1e-2, 1e2
_HALVINGS = 60

_STEEPNESS = 3
"""Power of the formula of `above_floor`: 1 and 2 leave more of the smoothing, 4 is no clear gain (LOG.md)."""

_FLOORS = tuple(0.02 * 2 ** (step / 2) for step in range(13))
"""Floors that are tried, in units of 1 / K; label smoothing ε suits a floor of about 2 ε / K."""

_LEAST_GAIN = 2.0
"""Gain of log-likelihood in nats, over all images, from which a floor is used: below it may be chance (the likelihood
ratio test for one parameter at 5 % has 1.92)."""

_FEWEST_POSITIVES = 10
"""Images with, and images without a class, from which a temperature of its own is fitted."""


def above_floor(logits: Float[Tensor, "*batch K"], floor: float) -> Float[Tensor, "*batch K"]:
    """Logits of probabilities p without what label smoothing gives to the wrong classes: p / (1 + (floor / p)³).

    A model trained with label smoothing has learned to give every wrong class a probability of ε / K. No temperature
    undoes this: it presses high and low probabilities alike. Probabilities well above the floor remain, those below it
    vanish, and their order remains too. With a floor of 0 the logits are returned as they are.
    """
    if not floor:
        return logits
    known = logits.log_softmax(dim=-1)
    return known + F.logsigmoid(_STEEPNESS * (known - math.log(floor)))


def fit_floor(logits: Float[Tensor, "n K"], target: Int[Tensor, " n"], *, prior: float = 0.0) -> tuple[float, float]:
    """Floor and temperature that together minimise the loss of softmax(above_floor(logits, floor) / temperature).

    The floor is 0 unless it gains clearly; arguments and errors are those of `fit_temperature`.
    """
    logits = _needed(logits)
    smoothing = prior / (len(logits) + prior)

    def fitted(floor: float) -> tuple[float, float, float]:
        raised = above_floor(logits, floor)
        temperature = fit_temperature(raised, target, prior=prior)
        loss = F.cross_entropy(raised / temperature, target, label_smoothing=smoothing, reduction="sum").item()
        return loss, floor, temperature

    plain = fitted(0.0)
    best = min(fitted(floor / logits.shape[1]) for floor in _FLOORS)
    _, floor, temperature = best if best[0] < plain[0] - _LEAST_GAIN else plain
    return floor, temperature


def fit_temperature(logits: Float[Tensor, "n K"], target: Int[Tensor, " n"], *, prior: float = 0.0) -> float:
    """Temperature T in [0.01, 100] that minimises the loss of softmax(logits / T) (Guo et al., 2017, section 4.2).

    If every image is predicted right, the loss falls without end as T does, and without a prior the lowest T is
    returned; if a uniform prediction would be better, the highest.

    Args:
        logits: (n, K).
        target: (n,), class indices.
        prior: number of images with equally probable classes that are added to the n (Platt, 1999, does so for two
            classes): n images that are all right are evidence for an error rate of about 1 / n, not of 0.

    Raises:
        VitrailError: no images.
    """
    logits = _needed(logits)
    smoothing = prior / (len(logits) + prior)
    own = (1 - smoothing) * logits.gather(1, target[:, None])[:, 0] + smoothing * logits.mean(dim=1)

    def slope(temperature: float) -> float:
        expected = ((logits / temperature).softmax(dim=1) * logits).sum(dim=1)
        return (expected - own).mean().item()

    return _zero(slope)


def fit_binary_temperature(logits: Float[Tensor, "..."], target: Float[Tensor, "..."], *, prior: float = 0.0) -> float:
    """Temperature T in [0.01, 100] that minimises the binary cross entropy of sigmoid(logits / T).

    Args:
        logits: any shape.
        target: the same shape, 0 or 1.
        prior: see `fit_temperature`.

    Raises:
        VitrailError: no images.
    """
    logits = _needed(logits)
    smoothing = prior / (len(logits) + prior)
    truth = (1 - smoothing) * target.double() + smoothing / 2

    def slope(temperature: float) -> float:
        return (((logits / temperature).sigmoid() - truth) * logits).mean().item()

    return _zero(slope)


def fit_temperatures(logits: Float[Tensor, "n K"], target: Float[Tensor, "n K"]) -> tuple[float, ...]:
    """Temperature of each of K independent classes.

    A class with few positive or few negative images has the one that is fitted to all classes together.

    Raises:
        VitrailError: no images.
    """
    shared = fit_binary_temperature(logits, target, prior=1.0)
    positives = target.sum(dim=0)
    enough = (positives >= _FEWEST_POSITIVES) & (len(target) - positives >= _FEWEST_POSITIVES)
    return tuple(
        fit_binary_temperature(logits[:, index], target[:, index], prior=1.0) if fits else shared
        for index, fits in enumerate(enough.tolist())
    )


def _needed(logits: Tensor) -> Tensor:
    if not len(logits):
        raise VitrailError("there is no image to fit a temperature on: give a source with a validation part")
    return logits.double()


def _zero(slope: Callable[[float], float]) -> float:
    """The temperature at which the slope of a loss in 1 / T is zero: the loss is convex, so bisection finds it."""
    low, high = math.log(_COLDEST), math.log(_HOTTEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(math.exp(middle)) > 0 else (low, middle)  # positive where T is too low
    return math.exp((low + high) / 2)
