"""Logistic regression on standardised features by L-BFGS."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .ridge import STRENGTHS, UNCHOSEN, LinearFit, Standard, held_out_rows

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""(logits, targets), both (n, K) float64 -> mean loss."""

_WORSE = 2
"""Number of weaker strengths in a row with a higher loss, after which the comparison ends."""

_STEPS = 500

_EXACT, _ROUGH = 1e-9, 1e-6
"""Change of the loss in a step at which a fit ends: of the returned layer, and while strengths are compared."""

_CURVATURE = 0.1
"""Typical second derivative of the loss in a logit: the mean of p (1 - p) over images and classes, roughly."""


def softmax_loss(logits: Float[Tensor, "n K"], targets: Float[Tensor, "n K"]) -> Float[Tensor, ""]:
    """Cross entropy of one class for each image."""
    return F.cross_entropy(logits, targets)


def sigmoid_loss(logits: Float[Tensor, "n K"], targets: Float[Tensor, "n K"]) -> Float[Tensor, ""]:
    """Binary cross entropy of any number of classes, summed over the classes: a logistic regression for each."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(dim=1).mean()


def fit_logistic(
    features: Float[Tensor, "n D"],
    targets: Float[Tensor, "n K"],
    strength: float,
    loss: LossFunction = softmax_loss,
) -> LinearFit:
    """Logistic regression on standardised features by L-BFGS: mean loss + strength / 2 · ‖weight‖².

    The bias is not penalised. In the terms of scikit-learn, C is 1 / (n · strength).

    Args:
        targets: what the loss compares the logits with: for `softmax_loss` a distribution over the classes in each row.
        strength: more than 0.
        loss: mean loss of the images; another one fits another linear model.
    """
    standard = Standard.of(features)
    problem = _Problem.of(standard(features), targets, loss)
    return standard.unfolded(problem.minimum(strength))


def fit_best_logistic(
    features: Float[Tensor, "n D"],
    targets: Float[Tensor, "n K"],
    loss: LossFunction = softmax_loss,
    *,
    seed: int = 0,
) -> tuple[LinearFit, float]:
    """Logistic regression with the strength that `choose_strength` finds; the layer and the strength.

    Args:
        features, targets, loss: see `fit_logistic`.
        seed: seed of the held-out part.
    """
    strength = choose_strength(features, targets, loss, seed=seed)
    return fit_logistic(features, targets, strength, loss), strength


def choose_strength(
    features: Float[Tensor, "n D"],
    targets: Float[Tensor, "n K"],
    loss: LossFunction = softmax_loss,
    *,
    seed: int = 0,
) -> float:
    """The strength of `STRENGTHS` with the lowest loss on a fifth of the images, for a fit on the others.

    Args:
        features, targets, loss: see `fit_logistic`.
        seed: seed of the held-out part.
    """
    parts = held_out_rows(len(features), seed)
    if parts is None:
        return UNCHOSEN
    kept, held = parts
    standard = Standard.of(features[kept])
    problem = _Problem.of(standard(features[kept]), targets[kept], loss)
    unseen, wanted = standard(features[held]), targets[held].double()
    fit, losses = None, list[float]()
    for strength in STRENGTHS:  # each starts where the stronger one ended
        fit = problem.minimum(strength, fit, _ROUGH)
        losses.append(loss(fit(unseen), wanted).item())
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
        loss: see `fit_logistic`.
    """

    rotation: Float[Tensor, "D D"]
    variances: Float[Tensor, " D"]
    components: Float[Tensor, "n D"]
    targets: Float[Tensor, "n K"]
    loss: LossFunction

    @classmethod
    def of(cls, standardised: Float[Tensor, "n D"], targets: Float[Tensor, "n K"], loss: LossFunction) -> "_Problem":
        variances, rotation = torch.linalg.eigh(standardised.T @ standardised / len(standardised))
        return cls(rotation, variances.clamp(min=0), standardised @ rotation, targets.double(), loss)

    def minimum(self, strength: float, start: LinearFit | None = None, tolerance: float = _EXACT) -> LinearFit:
        """Layer for standardised features with the lowest loss, found from another one or from zero.

        L-BFGS looks for weights divided by `scale`, an estimate of the inverse root of the loss's curvature along each
        component. Without it, features that are alike, as those of a network are, take ten times the steps. It ends
        when a step changes the loss by less than `tolerance`.
        """
        scale = (_CURVATURE * self.variances + strength).rsqrt()
        x, y = self.components, self.targets
        with torch.enable_grad():
            weight, bias = torch.zeros(y.shape[1], x.shape[1], dtype=x.dtype), torch.zeros(y.shape[1], dtype=x.dtype)
            if start is not None:
                weight, bias = start.weight @ self.rotation / scale, start.bias.clone()
            values = weight.requires_grad_(), bias.requires_grad_()
            optimizer = torch.optim.LBFGS(
                values,
                max_iter=_STEPS,
                tolerance_grad=1e-6,
                tolerance_change=tolerance,
                history_size=10,
                line_search_fn="strong_wolfe",
            )

            def closure() -> Tensor:
                optimizer.zero_grad()
                scaled = weight * scale
                total = self.loss(x @ scaled.T + bias, y) + strength / 2 * scaled.square().sum()
                total.backward()
                return total

            optimizer.step(closure)
            return LinearFit((weight * scale).detach() @ self.rotation.T, bias.detach())
