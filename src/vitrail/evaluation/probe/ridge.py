"""Linear layers on standardised features, and ridge regression, which fits one in closed form."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...data.seeds import permutation

STRENGTHS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""L2 strengths that are compared, relative to the mean loss of an image on standardised features, strongest first."""

_HELD_OUT, _FEWEST = 0.2, 10
"""Fraction of the images by which a strength is chosen; number of images from which some can be held out."""

UNCHOSEN = 1e-2
"""Strength for fewer images than that."""


@dataclass(frozen=True, slots=True, eq=False)
class LinearFit:
    """A linear layer, float64: (n, D) -> (n, K).

    Attributes:
        weight: (K, D), for features that are not standardised.
        bias: (K,).
    """

    weight: Float[Tensor, "K D"]
    bias: Float[Tensor, " K"]

    def __call__(self, features: Float[Tensor, "n D"]) -> Float[Tensor, "n K"]:
        """Outputs in float64."""
        return features.double() @ self.weight.T + self.bias


@dataclass(frozen=True, slots=True, eq=False)
class Standard:
    """Mean and inverse standard deviation of features, with which they are standardised.

    The inverse deviation of a constant feature is 0: divided by its deviation it would be rounding noise.
    """

    mean: Float[Tensor, " D"]
    inverse: Float[Tensor, " D"]

    @classmethod
    def of(cls, features: Float[Tensor, "n D"]) -> "Standard":
        """Statistics of features."""
        wide = features.double()
        deviation = wide.std(dim=0, correction=0)
        least = 1e-6 * max(1e-6, deviation.max().item())
        return cls(wide.mean(dim=0), torch.where(deviation > least, 1 / deviation, 0.0))

    def __call__(self, features: Float[Tensor, "n D"]) -> Float[Tensor, "n D"]:
        """Standardise features, in float64."""
        return (features.double() - self.mean) * self.inverse

    def unfolded(self, fit: LinearFit) -> LinearFit:
        """Convert a layer for standardised features to one for the features themselves."""
        weight = fit.weight * self.inverse
        return LinearFit(weight, fit.bias - weight @ self.mean)


def fit_ridge(
    features: Float[Tensor, "n D"], targets: Float[Tensor, "n K"], strength: float | Tensor = 1.0
) -> LinearFit:
    """Ridge regression on standardised features: minimises the sum of squared errors + strength · ‖weight‖².

    The bias is not penalised. Solved in closed form in the smaller of n and D dimensions.

    Args:
        strength: more than 0.
    """
    standard = Standard.of(features)
    x, shift = standard(features), targets.double().mean(dim=0)
    y = targets.double() - shift
    if x.shape[0] < x.shape[1]:
        weight = x.T @ torch.linalg.solve(x @ x.T + strength * torch.eye(len(x), dtype=x.dtype), y)
    else:
        weight = torch.linalg.solve(x.T @ x + strength * torch.eye(x.shape[1], dtype=x.dtype), x.T @ y)
    return standard.unfolded(LinearFit(weight.T.contiguous(), shift))


def fit_best_ridge(
    features: Float[Tensor, "n D"], targets: Float[Tensor, "n K"], *, seed: int = 0
) -> tuple[LinearFit, float]:
    """Ridge regression with the strength (of `STRENGTHS`, times n) with the lowest error on a fifth of the images.

    Args:
        seed: seed of the held-out part.

    Returns:
        The layer, fitted on all images, and the strength.
    """
    strength, parts = UNCHOSEN, held_out_rows(len(features), seed)
    if parts is not None:
        kept, held = parts
        errors = []
        for each in STRENGTHS:
            fit = fit_ridge(features[kept], targets[kept], each * len(kept))
            errors.append((fit(features[held]) - targets[held].double()).square().mean().item())
        strength = STRENGTHS[errors.index(min(errors))]
    return fit_ridge(features, targets, strength * len(features)), strength


def held_out_rows(count: int, seed: int) -> tuple[list[int], list[int]] | None:
    """Rows to fit on, and a random fifth by which to choose a strength; None for a few images."""
    if count < _FEWEST:
        return None
    order = permutation(count, seed)
    return order[round(_HELD_OUT * count) :], order[: round(_HELD_OUT * count)]
