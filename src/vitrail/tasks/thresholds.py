"""Thresholds of independent classes: the probability from which a class is predicted."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import VitrailError

USUAL_THRESHOLD = 0.5

_FEWEST_POSITIVES = 10
"""Images with, and images without a class, from which a threshold of its own is fitted."""


def fit_threshold(
    probabilities: Float[Tensor, " n"],
    target: Bool[Tensor, " n"],
    *,
    positives: int | None = None,
    usual: float = USUAL_THRESHOLD,
) -> float:
    """The threshold with the largest F1: 2 hits / (predicted + true), half-way between two probabilities.

    Of several the one nearest to the usual one, which is also returned if there are no hits at any threshold.

    Args:
        probabilities: of the candidates.
        target: whether each is right.
        positives: number of true ones; by default those among the candidates. More if some have no candidate.
        usual: the usual threshold.
    """
    if not target.any():
        return usual
    ordered, order = probabilities.double().sort(descending=True)
    hits, taken = target[order].double().cumsum(0), torch.arange(1, len(ordered) + 1)
    f1 = 2 * hits / (taken + (int(target.sum()) if positives is None else positives))
    below = torch.cat([ordered[1:], ordered.new_zeros(1)])
    # Candidates with the same probability are predicted together.
    places = (ordered != below).nonzero().flatten()
    best = places[f1[places] >= f1[places].max() - 1e-12]
    between = (ordered[best] + below[best]) / 2
    return between[(between - usual).abs().argmin()].item()


def fit_thresholds(probabilities: Float[Tensor, "n K"], target: Float[Tensor, "n K"]) -> tuple[float, ...]:
    """Threshold of each of K independent classes.

    Classes with few positive or few negative images share one, which is fitted to all of them together; 0.5 if together
    they have few too. One that is fitted to all classes would be that of the frequent ones.

    Raises:
        VitrailError: no images.
    """
    if not len(target):
        raise VitrailError("there is no image to fit thresholds on: give a source with a validation part")
    truth = target.bool()
    enough = _enough(truth.sum(dim=0), len(truth))
    rare, true = probabilities[:, ~enough].flatten(), truth[:, ~enough].flatten()
    shared = fit_threshold(rare, true) if _enough(true.sum(), len(true)) else USUAL_THRESHOLD
    return tuple(
        fit_threshold(probabilities[:, index], truth[:, index]) if fits else shared
        for index, fits in enumerate(enough.tolist())
    )


def _enough(positives: Tensor, images: int) -> Tensor:
    """Whether there are enough positives and negatives."""
    return (positives >= _FEWEST_POSITIVES) & (images - positives >= _FEWEST_POSITIVES)
