"""Regression metrics: errors, R² and coverage of predicted numbers."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import VitrailError
from ..tables import number_text
from .outcomes import Evaluation, Metrics, Names
from .pinball import pinball
from .value_score import Fitted, ValueScore, fraction_text, mean_of, value_score
from .worth import Baseline, compared, mean_margin

_DRAWN = 500
"""Most points of a scatter chart; more would hide each other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueEvaluation(Evaluation):
    """Evaluation of predicted numbers.

    `loss` is the mean squared error of the standardised numbers, or their pinball loss if they are a quantile.

    Attributes:
        per_value: metrics of each number, in the order of the outputs.
        points: for each number, (truth, predicted) pairs of the first images, for a chart.
        quantile: the quantile that the model predicts; None for other models.
        level: probability with which intervals contain the truth; None for a model that never has any.
    """

    per_value: tuple[ValueScore, ...]
    points: tuple[tuple[tuple[float, float], ...], ...]
    quantile: float | None = None
    level: float | None = None

    @property
    def r2(self) -> float | None:
        """Mean R² over the numbers for which it is defined; None if there are none."""
        return mean_of([row.r2 for row in self.per_value])

    @property
    def d2(self) -> float | None:
        """Mean D² of a quantile's numbers for which it is defined; None if there are none."""
        return mean_of([row.d2 for row in self.per_value])

    @property
    def coverage(self) -> float | None:
        """Mean coverage of the numbers' intervals; None without intervals."""
        return mean_of([row.coverage for row in self.per_value])

    @property
    def margin(self) -> float | None:
        """Mean of the margins of R² or D²: exact for one number, and no smaller than the margin of the mean for
        several."""
        return mean_of([row.r2_margin if self.quantile is None else row.d2_margin for row in self.per_value])

    @property
    def _explained(self) -> float | None:
        return self.r2 if self.quantile is None else self.d2

    def baseline(self) -> Baseline | None:
        """Always answering the mean of the images, whose R² is 0, or their quantile, whose D² is."""
        found = self._explained
        if found is None:
            return None
        low = None if self.margin is None else found - self.margin
        answer, value = ("mean", "R² 0") if self.quantile is None else (f"quantile {self.quantile:g}", "D² 0")
        return Baseline(answer=f"always answering the {answer}", value=value, model=compared(found, low, 0.0))

    @property
    def mean_absolute_error(self) -> float | None:
        """Mean absolute error of the number; None if there are several, whose units may differ."""
        return self.per_value[0].mean_absolute_error if len(self.per_value) == 1 else None

    @property
    def quality(self) -> float:
        """R² or D², or minus the loss if that is not defined."""
        return -self.loss if self._explained is None else self._explained

    def headline(self) -> dict[str, float]:
        found = {"loss": self.loss, "r2": self.r2, "d2": self.d2, "coverage": self.coverage}
        found["mean_absolute_error"] = self.mean_absolute_error
        if len(self.per_value) > 1:
            found |= {f"mean_absolute_error {row.name}": row.mean_absolute_error for row in self.per_value}
        return {name: value for name, value in found.items() if value is not None}

    def facts(self) -> list[tuple[str, str]]:
        name = (
            "R² (95 % interval)" if self.quantile is None else f"D² of the quantile {self.quantile:g} (95 % interval)"
        )
        rows = [] if self._explained is None else [(name, fraction_text(self._explained, self.margin))]
        rows += [(f"mean absolute error, {row.name}", row.error_text) for row in self.per_value]
        if self.quantile is not None:
            rows += [
                (f"true {row.name} up to the predicted one, expected {100 * self.quantile:g} %", row.at_most_text)
                for row in self.per_value
            ]
        if self.level is not None and self.coverage is not None:
            rows += [
                (f"coverage of {100 * self.level:g} % intervals, {row.name}", self._interval_text(row))
                for row in self.per_value
            ]
        return rows

    @staticmethod
    def _interval_text(row: ValueScore) -> str:
        width = "" if row.width is None else f", {number_text(row.width)} wide"
        return f"{row.coverage_text}{width}"

    def card_metrics(self) -> dict[str, float]:
        found = {"r2": self.r2, "mae": self.mean_absolute_error}
        return {name: value for name, value in found.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}


class ValueMetrics(Metrics):
    """Collects outputs and targets of all batches and computes the metrics in float64 and the labels' units.

    Args:
        names: names of the numbers.
        values: standardised numbers (n, K) -> numbers in the labels' units.
        fitted: what is known of each number's predictions; by default nothing.
        level: see `ValueEvaluation`.
    """

    def __init__(
        self,
        names: Names,
        values: Callable[[Tensor], Tensor],
        fitted: Sequence[Fitted] = (),
        level: float | None = None,
    ) -> None:
        self.names = names
        self.values = values
        self.fitted = fitted or (Fitted(),) * len(names)
        self.level = level
        self.pairs: list[tuple[Tensor, Tensor]] = []

    def update(self, output: Float[Tensor, "B K"], target: Float[Tensor, "B K"]) -> None:
        """Add predicted and true standardised numbers of a batch."""
        self.pairs.append((output, target))

    def compute(self) -> ValueEvaluation:
        """Compute the metrics over all batches."""
        if not self.pairs:
            raise VitrailError("there are no labelled images to score: give a source with labels")
        output, target = (torch.cat(part).double() for part in zip(*self.pairs, strict=True))
        if not output.isfinite().all():
            raise VitrailError("some predicted numbers are not finite: the weights have diverged, or try float32")
        predicted, truth = self.values(output), self.values(target)
        quantile = self.fitted[0].quantile
        losses = (output - target).square() if quantile is None else pinball(target - output, quantile)
        return ValueEvaluation(
            count=len(target),
            loss=losses.mean().item(),
            loss_margin=mean_margin(losses.mean(dim=1)),
            per_value=tuple(
                value_score(name, predicted[:, i], truth[:, i], fitted)
                for i, (name, fitted) in enumerate(zip(self.names, self.fitted, strict=True))
            ),
            points=tuple(
                tuple(zip(truth[:_DRAWN, i].tolist(), predicted[:_DRAWN, i].tolist(), strict=True))
                for i in range(len(self.names))
            ),
            quantile=quantile,
            level=self.level,
        )
