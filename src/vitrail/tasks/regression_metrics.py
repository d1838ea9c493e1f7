"""Regression metrics: errors and R² of predicted numbers."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import VitrailError
from ..tables import number_text
from .outcomes import Evaluation, Metrics, Names
from .worth import Baseline, compared, mean_margin, ratio_margin, with_margin

_DRAWN = 500
"""Most points of a scatter chart; more would hide each other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueScore:
    """Metrics of one of the predicted numbers.

    Attributes:
        mean_absolute_error, root_mean_squared_error: in the unit of the number.
        r2: 1 − Σ (truth − predicted)² / Σ (truth − mean)²: 1 is perfect, 0 is as good as predicting the mean; None
        if all true values are equal.
        error_margin, r2_margin: halves of the 95 % intervals of the mean absolute error and of R².
    """

    name: str
    mean_absolute_error: float
    root_mean_squared_error: float
    r2: float | None
    error_margin: float | None = None
    r2_margin: float | None = None

    @property
    def error_text(self) -> str:
        """Mean absolute error with its margin."""
        margin = None if self.error_margin is None else number_text(self.error_margin)
        return with_margin(number_text(self.mean_absolute_error), margin)

    @property
    def r2_text(self) -> str:
        """R² with its margin; a dash if it is not defined."""
        return "–" if self.r2 is None else _r2_text(self.r2, self.r2_margin)


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueEvaluation(Evaluation):
    """Evaluation of predicted numbers. `loss` is the mean squared error of the standardised numbers.

    Attributes:
        per_value: metrics of each number, in the order of the outputs.
        points: for each number, (truth, predicted) pairs of the first images, for a chart.
    """

    per_value: tuple[ValueScore, ...]
    points: tuple[tuple[tuple[float, float], ...], ...]

    @property
    def r2(self) -> float | None:
        """Mean R² over the numbers for which it is defined; None if there are none."""
        known = [row.r2 for row in self.per_value if row.r2 is not None]
        return sum(known) / len(known) if known else None

    @property
    def r2_margin(self) -> float | None:
        """Mean of the margins of R²: exact for one number, and no smaller than the margin of the mean for several."""
        known = [row.r2_margin for row in self.per_value if row.r2_margin is not None]
        return sum(known) / len(known) if known else None

    def baseline(self) -> Baseline | None:
        """Always answering the mean of the images, whose R² is 0."""
        if self.r2 is None:
            return None
        low = None if self.r2_margin is None else self.r2 - self.r2_margin
        return Baseline(answer="always answering the mean", value="R² 0", model=compared(self.r2, low, 0.0))

    @property
    def mean_absolute_error(self) -> float | None:
        """Mean absolute error of the number; None if there are several, whose units may differ."""
        return self.per_value[0].mean_absolute_error if len(self.per_value) == 1 else None

    @property
    def quality(self) -> float:
        """R², or minus the loss if R² is not defined."""
        return -self.loss if self.r2 is None else self.r2

    def headline(self) -> dict[str, float]:
        found = {"loss": self.loss, "r2": self.r2, "mean_absolute_error": self.mean_absolute_error}
        if len(self.per_value) > 1:
            found |= {f"mean_absolute_error {row.name}": row.mean_absolute_error for row in self.per_value}
        return {name: value for name, value in found.items() if value is not None}

    def facts(self) -> list[tuple[str, str]]:
        rows = [] if self.r2 is None else [("R² (95 % interval)", _r2_text(self.r2, self.r2_margin))]
        return [*rows, *((f"mean absolute error, {row.name}", row.error_text) for row in self.per_value)]

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
    """

    def __init__(self, names: Names, values: Callable[[Tensor], Tensor]) -> None:
        self.names = names
        self.values = values
        self.pairs: list[tuple[Tensor, Tensor]] = []

    def update(self, output: Float[Tensor, "B K"], target: Float[Tensor, "B K"]) -> None:
        """Add predicted and true standardised numbers of a batch."""
        self.pairs.append((output, target))

    def compute(self) -> ValueEvaluation:
        """Compute errors and R² over all batches."""
        if not self.pairs:
            raise VitrailError("there are no labelled images to score: give a source with labels")
        output, target = (torch.cat(part).double() for part in zip(*self.pairs, strict=True))
        if not output.isfinite().all():
            raise VitrailError("some predicted numbers are not finite: the weights have diverged, or try float32")
        predicted, truth = self.values(output), self.values(target)
        return ValueEvaluation(
            count=len(target),
            loss=(output - target).square().mean().item(),
            loss_margin=mean_margin((output - target).square().mean(dim=1)),
            per_value=tuple(_score(name, predicted[:, i], truth[:, i]) for i, name in enumerate(self.names)),
            points=tuple(
                tuple(zip(truth[:_DRAWN, i].tolist(), predicted[:_DRAWN, i].tolist(), strict=True))
                for i in range(len(self.names))
            ),
        )


def _score(name: str, predicted: Float[Tensor, " n"], truth: Float[Tensor, " n"]) -> ValueScore:
    errors, deviations = predicted - truth, truth - truth.mean()
    spread = deviations.square().sum()
    return ValueScore(
        name=name,
        mean_absolute_error=errors.abs().mean().item(),
        root_mean_squared_error=errors.square().mean().sqrt().item(),
        r2=None if spread == 0 else (1 - errors.square().sum() / spread).item(),
        error_margin=mean_margin(errors.abs()),
        r2_margin=None if spread == 0 else ratio_margin(errors.square(), deviations.square()),
    )


def _r2_text(r2: float, margin: float | None) -> str:
    return with_margin(f"{r2:.4f}", None if margin is None else f"{margin:.4f}")
