"""Metrics of one predicted number."""

import math
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ..tables import number_text
from .pinball import best_constant, pinball
from .worth import mean_margin, percent_interval, ratio_margin, wilson, with_margin


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """What is known of a number's predictions besides the numbers.

    Attributes:
        quantile: the quantile that they are; None: they are no quantile.
        half_width: distance from a prediction to the ends of its interval, in the number's unit; None: no interval.
    """

    quantile: float | None = None
    half_width: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueScore:
    """Metrics of one of the predicted numbers.

    Attributes:
        mean_absolute_error, root_mean_squared_error: in the unit of the number.
        r2: 1 − Σ (truth − predicted)² / Σ (truth − mean)²: 1 is perfect, 0 is as good as predicting the mean; None
            if all true values are equal, or if the predictions are a quantile.
        error_margin, r2_margin, d2_margin: halves of the 95 % intervals of the mean absolute error, R² and D².
        coverage: fraction of the truths that are in their intervals; None without intervals.
        coverage_interval: 95 % interval of it.
        width: width of the intervals, in the unit of the number.
        pinball_loss: mean pinball loss of a quantile, in the unit of the number; None for other predictions.
        at_most: fraction of the truths that are at most the predicted quantile; in the long run the quantile itself.
        at_most_interval: 95 % interval of it.
        d2: 1 − pinball loss / that of the best constant (Koenker & Machado, 1999): the R² of a quantile.
    """

    name: str
    mean_absolute_error: float
    root_mean_squared_error: float
    r2: float | None
    error_margin: float | None = None
    r2_margin: float | None = None
    coverage: float | None = None
    coverage_interval: tuple[float, float] | None = None
    width: float | None = None
    pinball_loss: float | None = None
    at_most: float | None = None
    at_most_interval: tuple[float, float] | None = None
    d2: float | None = None
    d2_margin: float | None = None

    @property
    def error_text(self) -> str:
        """Mean absolute error with its margin."""
        margin = None if self.error_margin is None else number_text(self.error_margin)
        return with_margin(number_text(self.mean_absolute_error), margin)

    @property
    def r2_text(self) -> str:
        """R² with its margin; a dash if it is not defined."""
        return fraction_text(self.r2, self.r2_margin)

    @property
    def d2_text(self) -> str:
        """D² with its margin; a dash if it is not defined."""
        return fraction_text(self.d2, self.d2_margin)

    @property
    def coverage_text(self) -> str:
        """Coverage with its interval; a dash without intervals."""
        return _share_text(self.coverage, self.coverage_interval)

    @property
    def at_most_text(self) -> str:
        """Fraction of truths that are at most the prediction, with its interval; a dash if the prediction is no
        quantile."""
        return _share_text(self.at_most, self.at_most_interval)


def value_score(name: str, predicted: Float[Tensor, " n"], truth: Float[Tensor, " n"], fitted: Fitted) -> ValueScore:
    """Compare predictions with truths, float64 and in the unit of the number."""
    errors = truth - predicted
    return ValueScore(
        name=name,
        mean_absolute_error=errors.abs().mean().item(),
        root_mean_squared_error=errors.square().mean().sqrt().item(),
        error_margin=mean_margin(errors.abs()),
        **(_of_mean(errors, truth) if fitted.quantile is None else _of_quantile(errors, truth, fitted.quantile)),
        **(_of_interval(errors, fitted.half_width) if fitted.half_width is not None else {}),
    )


def _of_mean(errors: Float[Tensor, " n"], truth: Float[Tensor, " n"]) -> dict[str, Any]:
    r2, margin = _explained(errors.square(), (truth - truth.mean()).square())
    return {"r2": r2, "r2_margin": margin}


def _of_quantile(errors: Float[Tensor, " n"], truth: Float[Tensor, " n"], quantile: float) -> dict[str, Any]:
    losses = pinball(errors, quantile)
    d2, margin = _explained(losses, pinball(truth - best_constant(truth, quantile), quantile))
    below = int((errors <= 0).sum())
    return {
        "r2": None,
        "pinball_loss": losses.mean().item(),
        "at_most": below / len(errors),
        "at_most_interval": wilson(below, len(errors)),
        "d2": d2,
        "d2_margin": margin,
    }


def _of_interval(errors: Float[Tensor, " n"], half_width: float) -> dict[str, Any]:
    inside = int((errors.abs() <= half_width).sum())
    return {
        "coverage": inside / len(errors),
        "coverage_interval": wilson(inside, len(errors)),
        "width": 2 * half_width,
    }


def _explained(losses: Float[Tensor, " n"], of_constant: Float[Tensor, " n"]) -> tuple[float | None, float | None]:
    """1 − ratio of two sums of losses, and its margin; None if the constant has no loss."""
    whole = of_constant.sum()
    if whole == 0:
        return None, None
    return (1 - losses.sum() / whole).item(), ratio_margin(losses, of_constant)


def mean_of(values: list[float | None]) -> float | None:
    """Mean of the values that are known; None if none is."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def fraction_text(value: float | None, margin: float | None) -> str:
    """R² or D² with its margin."""
    return "–" if value is None else with_margin(f"{value:.4f}", None if margin is None else f"{margin:.4f}")


def _share_text(share: float | None, interval: tuple[float, float] | None) -> str:
    if share is None or interval is None:
        return "–"
    return f"{100 * share:.1f} % ({percent_interval(interval)})"
