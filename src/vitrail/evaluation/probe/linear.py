"""Linear models on frozen features: ridge and logistic regression, and their accuracy as a probe."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ...data.seeds import permutation
from ...errors import VitrailError

Kind = Literal["ridge", "logistic"]

STRENGTHS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""L2 strengths of a logistic regression on standardised features that `choose_strength` compares, strongest first."""

_HELD_OUT, _FEWEST = 0.2, 10
_UNCHOSEN = 1e-2
"""Strength for fewer than `_FEWEST` images, of which none can be held out."""

_WORSE = 2
"""The comparison ends when the loss has risen for so many strengths in a row."""

_STEPS = 500

_CURVATURE = 0.1
"""Typical curvature of the loss in a logit, p (1 - p) averaged over images and classes, of which a rough value does."""


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


def fit_logistic(
    features: Float[Tensor, "n D"],
    targets: Float[Tensor, "n K"],
    strength: float,
    *,
    many: bool = False,
    class_weights: Float[Tensor, " K"] | None = None,
) -> LinearFit:
    """Logistic regression on standardised features by L-BFGS: mean loss + strength / 2 · ‖weight‖².

    The bias is not penalised. In the terms of scikit-learn, C is 1 / (n · strength).

    Args:
        targets: a distribution over the classes in each row, or, with `many`, independent fractions.
        many: a sigmoid for each class, whose losses are summed, instead of a softmax over the classes.
        class_weights: factor of the loss of each class.
    """
    standard = Standard.of(features)
    problem = _Problem.of(standard(features), targets, many, class_weights)
    return standard.unfolded(problem.minimum(strength))


def fit_best_logistic(
    features: Float[Tensor, "n D"],
    targets: Float[Tensor, "n K"],
    *,
    many: bool = False,
    class_weights: Float[Tensor, " K"] | None = None,
    seed: int = 0,
) -> tuple[LinearFit, float]:
    """Logistic regression with the strength that `choose_strength` finds; the layer and the strength.

    Args:
        features, targets, many, class_weights: see `fit_logistic`.
        seed: seed of the held-out part.
    """
    strength = choose_strength(features, targets, many=many, class_weights=class_weights, seed=seed)
    return fit_logistic(features, targets, strength, many=many, class_weights=class_weights), strength


def choose_strength(
    features: Float[Tensor, "n D"],
    targets: Float[Tensor, "n K"],
    *,
    many: bool = False,
    class_weights: Float[Tensor, " K"] | None = None,
    seed: int = 0,
) -> float:
    """The strength of `STRENGTHS` with the lowest loss on a fifth of the images, for a fit on the others.

    Args:
        features, targets, many, class_weights: see `fit_logistic`.
        seed: seed of the held-out part.
    """
    if len(features) < _FEWEST:
        return _UNCHOSEN
    order = permutation(len(features), seed)
    held, kept = order[: round(_HELD_OUT * len(order))], order[round(_HELD_OUT * len(order)) :]
    standard = Standard.of(features[kept])
    problem = _Problem.of(standard(features[kept]), targets[kept], many, class_weights)
    unseen, wanted = standard(features[held]), targets[held].double()
    fit, losses = None, list[float]()
    for strength in STRENGTHS:  # each starts where the stronger one ended
        fit = problem.minimum(strength, fit)
        losses.append(_loss(fit(unseen), wanted, many, class_weights).item())
        if len(losses) - 1 - losses.index(min(losses)) >= _WORSE:
            break
    return STRENGTHS[losses.index(min(losses))]


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """A logistic regression on standardised features, rotated to their principal components.

    Attributes:
        rotation: (D, D), an orthogonal matrix: the penalty is the same for rotated weights.
        variances: (D,) variance of each component.
        components: (n, D) rotated features.
        targets: (n, K).
        many, class_weights: see `fit_logistic`.
    """

    rotation: Float[Tensor, "D D"]
    variances: Float[Tensor, " D"]
    components: Float[Tensor, "n D"]
    targets: Float[Tensor, "n K"]
    many: bool
    class_weights: Float[Tensor, " K"] | None

    @classmethod
    def of(
        cls,
        standardised: Float[Tensor, "n D"],
        targets: Float[Tensor, "n K"],
        many: bool,
        class_weights: Float[Tensor, " K"] | None,
    ) -> "_Problem":
        variances, rotation = torch.linalg.eigh(standardised.T @ standardised / len(standardised))
        found = rotation, variances.clamp(min=0), standardised @ rotation, targets.double()
        return cls(*found, many, class_weights)

    def minimum(self, strength: float, start: LinearFit | None = None) -> LinearFit:
        """Layer for standardised features with the lowest loss, found from another one or from zero.

        L-BFGS looks for weights divided by `scale`, an estimate of the inverse root of the loss's curvature along each
        component. Without it, features that are alike, as those of a network are, take ten times the steps.
        """
        scale = (_CURVATURE * self.variances + strength).rsqrt()
        with torch.inference_mode(False), torch.enable_grad():
            x, y, scale = (v.clone() if v.is_inference() else v for v in (self.components, self.targets, scale))
            weight, bias = torch.zeros(y.shape[1], x.shape[1], dtype=x.dtype), torch.zeros(y.shape[1], dtype=x.dtype)
            if start is not None:
                weight, bias = start.weight @ self.rotation / scale, start.bias.clone()
            values = weight.requires_grad_(), bias.requires_grad_()
            optimizer = torch.optim.LBFGS(
                values, max_iter=_STEPS, tolerance_grad=1e-6, tolerance_change=1e-9, line_search_fn="strong_wolfe"
            )

            def closure() -> Tensor:
                optimizer.zero_grad()
                scaled = weight * scale
                loss = _loss(x @ scaled.T + bias, y, self.many, self.class_weights)
                loss = loss + strength / 2 * scaled.square().sum()
                loss.backward()
                return loss

            optimizer.step(closure)
            return LinearFit((weight * scale).detach() @ self.rotation.T, bias.detach())


def _loss(logits: Tensor, targets: Tensor, many: bool, class_weights: Tensor | None) -> Tensor:
    weights = None if class_weights is None else class_weights.double()
    if not many:
        return F.cross_entropy(logits, targets, weight=weights)
    each = F.binary_cross_entropy_with_logits(logits, targets, weight=weights, reduction="none")
    return each.sum(dim=1).mean()


@dataclass(frozen=True, slots=True)
class Probe:
    """Accuracy of a probe on the training part and on the test part; 0 to 1."""

    train: float
    test: float


def linear_probe(
    train: Float[Tensor, "n D"],
    train_labels: Int[Tensor, " n"],
    test: Float[Tensor, "m D"],
    test_labels: Int[Tensor, " m"],
    kind: Kind = "ridge",
    strength: float = 1.0,
) -> Probe:
    """Fit a linear classifier on frozen features and evaluate it on a test part.

    Alain and Bengio (2017), "Understanding intermediate layers using linear classifier probes". Features are
    standardised with statistics of the training part, so that the regularisation is the same for every layer.

    Args:
        kind: "ridge" (least squares on ±1, seconds for any width) or "logistic".
        strength: strength of the l2 regularisation, relative to the sum of the losses of all images.

    Raises:
        VitrailError: there are fewer than two classes or no test images.
    """
    known = train_labels.unique()
    if len(known) < 2:
        raise VitrailError(f"a probe needs images of two classes or more to learn from: there are {len(known)}")
    if not len(test):
        raise VitrailError("there is no image to score the probe on: give a source with a test part")
    ones = (train_labels[:, None] == known).double()
    if kind == "ridge":
        fit = fit_ridge(train, 2 * ones - 1, strength)
    else:
        # Two classes share one direction, which scikit-learn penalises as the one weight of a binary regression.
        shared = 2 if len(known) == 2 else 1
        fit = fit_logistic(train, ones, shared * strength / len(train))
    scores = [accuracy(fit(part), labels, known) for part, labels in ((train, train_labels), (test, test_labels))]
    return Probe(*scores)


def accuracy(
    scores: Float[Tensor, "n K"], labels: Int[Tensor, " n"], classes: Int[Tensor, " K"] | None = None
) -> float:
    """Fraction of images whose label has the highest score; 0 to 1.

    Args:
        classes: label of each column; None: its number.
    """
    best = scores.argmax(dim=1)
    return ((best if classes is None else classes[best]) == labels).double().mean().item()
