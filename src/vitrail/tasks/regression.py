"""The regression task: one or several numbers for each image, with intervals that contain the truth."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..data.samples import Sample, Source
from ..data.survey import Survey
from ..errors import VitrailError
from ..tables import number_text
from ..task_spec import TaskSpec
from .conformal import LEVEL, fewest_images, half_width
from .outcomes import Cells, Curve, Mistake, Names, Prediction
from .pinball import best_constant
from .regression_metrics import ValueEvaluation, ValueMetrics
from .regression_report import value_sections, value_summary
from .task import Task, same_kind
from .value_score import Fitted


@dataclass(frozen=True, kw_only=True, slots=True)
class ValuePrediction(Prediction):
    """Predicted numbers.

    Attributes:
        values: (name, number) pairs; empty if the image could not be read.
        intervals: (low, high) for each number; empty if the model has no intervals.
    """

    values: tuple[tuple[str, float], ...] = ()
    intervals: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Regression(Task):
    """Regression: outputs are numbers standardised by the training labels' mean and deviation.

    Attributes:
        mean, scale: mean and standard deviation of each number in the training labels; empty (0 and 1) before training.
            For a quantile `mean` is that quantile of the labels, so that an output of 0 is the best constant.
        quantile: quantile of the numbers that the model predicts, see the objective; None: their mean.
        level: probability with which an interval contains the true number.
        half_widths: distance of each number to the ends of its interval, in the unit of the labels; empty: there are no
            intervals. Training fits them on the validation split, see `calibrated`.
    """

    name: ClassVar[str] = "regression"
    card_type: ClassVar[str] = "image-feature-extraction"
    objective: ClassVar[str] = "regression"
    curve: ClassVar[Curve] = Curve(title="Validation quality", columns={"R²": "val_r2", "D²": "val_d2"})

    decoded_name: ClassVar[str] = "values"

    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    quantile: float | None = None
    level: float = LEVEL
    half_widths: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        numbers = all(isinstance(value, int | float) for value in (*self.mean, *self.scale))
        if not numbers or len(self.mean) != len(self.scale) or not all(value > 0 for value in self.scale):
            raise VitrailError(
                f"regression has mean {self.mean} and scale {self.scale}: it needs numbers, and a positive scale for "
                "each mean"
            )
        for name, value in (("quantile", self.quantile), ("level", self.level)):
            if value is not None and not 0 < value < 1:
                raise VitrailError(f"regression has a {name} of {value}: it is a fraction, more than 0 and below 1")
        if bad := [value for value in self.half_widths if not 0 <= value < math.inf]:
            raise VitrailError(f"regression has a half-width of {bad[0]}: it is a distance, at least 0 and finite")

    @property
    def spec(self) -> TaskSpec:
        fitted = {"mean": self.mean, "scale": self.scale, "half_widths": self.half_widths, "quantile": self.quantile}
        level = {} if self.level == LEVEL else {"level": self.level}
        return TaskSpec.of("regression", **{name: value for name, value in fitted.items() if value}, **level)

    def check(self, survey: Survey) -> None:
        """Raise VitrailError for fewer than two images, or if a number is the same for all."""
        samples, names = survey.source.samples, survey.source.class_names
        if len(samples) < 2:
            raise VitrailError(f"{survey.source.name} has {len(samples)} good images: at least two are needed")
        for column, name in enumerate(names):
            if len({sample.labels[column] for sample in samples}) == 1:
                raise VitrailError(
                    f"{name} of {survey.source.name} is {samples[0].labels[column]:g} for every image: there is "
                    "nothing to learn, leave the column out"
                )

    def fitted(self, samples: Sequence[Sample], names: Names) -> "Regression":
        """Return the task with mean, or quantile, and deviation of the training labels."""
        values = _values(samples, names)
        scale = values.std(dim=0, correction=0)
        quantile = self.quantile
        middle = values.mean(dim=0).tolist() if quantile is None else [best_constant(v, quantile) for v in values.T]
        return replace(self, mean=tuple(middle), scale=tuple(scale.where(scale > 0, 1.0).tolist()))

    def continued(self, previous: TaskSpec) -> "Regression | None":
        """The task with the previous mean and deviation, which the head was trained with, if they suit the new labels.

        They do if each new mean is within three of the old deviations and no deviation changed by more than a factor of
        three. Otherwise the unit has probably changed.
        """
        if previous.name != self.name:
            return None
        options = dict(previous.options)
        old = replace(self, mean=tuple(options.get("mean", ())), scale=tuple(options.get("scale", ())))
        pairs = zip(self.mean, self.scale, old.mean, old.scale, strict=False)
        alike = (abs(mean - was) <= 3 * wide and wide / 3 <= scale <= 3 * wide for mean, scale, was, wide in pairs)
        return old if len(old.mean) == len(self.mean) and all(alike) else None

    def targets(self, samples: Sequence[Sample], names: Names) -> Float[Tensor, "n K"]:
        """Targets (n, K) float32, standardised by the training labels' mean and deviation."""
        mean, scale = self._moments(len(names))
        return ((_values(samples, names) - mean) / scale).float()

    def written(self, sample: Sample, names: Names) -> str:
        return "|".join(repr(float(value)) for value in sample.labels)

    def label_columns(self, names: Names) -> dict[str, type[str] | type[float]]:
        return {f"true_{name}": float for name in names}

    def true_cells(self, sample: Sample, names: Names) -> Cells:
        return tuple(float(value) for value in sample.labels)

    def match(self, source: Source, names: Names) -> Source:
        """Return the source with its numbers in the model's order."""
        same_kind(self, source)
        if not names:
            raise VitrailError("the checkpoint has no names to match columns with: save it with class_names")
        missing = [name for name in names if name not in source.class_names]
        if missing:
            raise VitrailError(
                f"{source.name} has no column {', '.join(missing)}, which the checkpoint predicts: it has "
                f"{', '.join(source.class_names)}. Rename or add it"
            )
        order = [source.class_names.index(name) for name in names]
        samples = tuple(replace(s, labels=tuple(s.labels[column] for column in order)) for s in source.samples)
        return replace(source, class_names=tuple(names), samples=samples)

    def values(self, output: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """Convert outputs to the units of the labels, float64."""
        mean, scale = self._moments(output.shape[1])
        return output.double() * scale + mean

    def decoded(self, output: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """Numbers in the units of the labels, in the dtype of the output."""
        mean, scale = (moment.to(output.dtype) for moment in self._moments(output.shape[1]))
        return output * scale + mean

    @property
    def _central(self) -> bool:
        """Whether the predictions are in the middle, so that an interval around them makes sense."""
        return self.quantile in (None, 0.5)

    def calibrated(self, output: Float[Tensor, "n K"], target: Float[Tensor, "n K"]) -> "Regression":
        """The task with half-widths from the errors for these images; without any if they are too few for the level, or
        if the model predicts a quantile other than the median, around which no interval is centred."""
        if not self._central or len(output) < fewest_images(self.level):
            return replace(self, half_widths=())
        errors = self.values(output) - self.values(target)
        return replace(self, half_widths=tuple(half_width(column, self.level) for column in errors.T))

    def widths(self, count: int) -> tuple[float, ...]:
        """The half-width of each number; empty without intervals.

        Raises:
            VitrailError: there are half-widths for another number of outputs.
        """
        if len(self.half_widths) not in (0, count):
            raise VitrailError(
                f"the checkpoint has intervals for {len(self.half_widths)} numbers and outputs for {count}: train it "
                "anew, or remove half_widths from the task in model.json"
            )
        return self.half_widths

    def decode(self, output: Float[Tensor, "B K"], names: Names, top_k: int | None = None) -> Sequence[ValuePrediction]:
        """Predicted numbers of each image with their intervals, in the units of the labels."""
        widths = self.widths(len(names))
        return [
            ValuePrediction(
                values=tuple(zip(names, row, strict=True)),
                intervals=tuple((value - width, value + width) for value, width in zip(row, widths, strict=False)),
            )
            for row in self.values(output).tolist()
        ]

    def failed(self, path: str, error: str) -> ValuePrediction:
        return ValuePrediction(path=path, error=error)

    def columns(self, names: Names, top_k: int) -> dict[str, type[str] | type[float]]:
        """Each number, and with intervals also NAME_low and NAME_high after it."""
        return dict.fromkeys((column for name in names for column in self._columns_of(name, names)), float)

    def _columns_of(self, name: str, names: Names) -> list[str]:
        """Columns of a number; the ends of its interval have names that no number has."""
        ends = [f"{name}_low", f"{name}_high"] if self.half_widths else []
        while any(end in names for end in ends):
            ends = [f"{end}_end" for end in ends]
        return [name, *ends]

    def cells(self, prediction: ValuePrediction, names: Names, top_k: int) -> list[str | float | None]:
        if not prediction.values:
            return [None] * len(self.columns(names, top_k))
        ends = prediction.intervals or ((),) * len(names)
        rows = zip(prediction.values, ends, strict=True)
        return [number for (_, value), interval in rows for number in (value, *interval)]

    def to_dict(self, prediction: ValuePrediction) -> dict[str, Any]:
        found: dict[str, Any] = {"values": dict(prediction.values)}
        if prediction.intervals:
            pairs = zip(prediction.values, prediction.intervals, strict=True)
            found["intervals"] = {name: list(interval) for (name, _), interval in pairs}
        return found

    def metrics(self, names: Names) -> ValueMetrics:
        widths = self.widths(len(names)) or (None,) * len(names)
        fitted = [Fitted(quantile=self.quantile, half_width=width) for width in widths]
        return ValueMetrics(names, self.values, fitted, self.level if self._central else None)

    def mistakes(
        self, output: Float[Tensor, "n K"], target: Float[Tensor, "n K"], names: Names, most: int
    ) -> list[Mistake]:
        """The predictions with the largest errors, in units of the training labels' deviation."""
        errors = (output - target).abs().max(dim=1)
        predicted, truth = self.values(output), self.values(target)
        found = []
        for index in errors.values.argsort(descending=True, stable=True)[:most].tolist():
            column = int(errors.indices[index])
            given, true = float(predicted[index, column]), float(truth[index, column])
            words = f"{names[column]} {number_text(given)}", f"{names[column]} {number_text(true)}"
            found.append(
                Mistake(
                    index=index, predicted=words[0], truth=words[1], size=f"off by {number_text(abs(given - true))}"
                )
            )
        return found

    def label_words(self, target: Float[Tensor, " K"], names: Names) -> str:
        values = self.values(target[None])[0].tolist()
        return ", ".join(f"{name} {number_text(value)}" for name, value in zip(names, values, strict=True))

    def count_words(self, names: Names) -> str:
        quantile = "" if self.quantile is None else f", the quantile {self.quantile:g} of each"
        return f"{len(names)} number{'s' * (len(names) > 1)}{quantile}"

    def describe(self, names: Names) -> str:
        return f"{self.count_words(names)}: {', '.join(names)}"

    def report(self, evaluation: ValueEvaluation) -> list[str]:
        return value_sections(evaluation)

    def summary(self, evaluation: ValueEvaluation) -> str:
        return value_summary(evaluation)

    def _moments(self, count: int) -> tuple[Tensor, Tensor]:
        if self.mean and len(self.mean) != count:
            raise VitrailError(f"the task was fitted to {len(self.mean)} numbers, not {count}: fit it again")
        mean, scale = self.mean or (0.0,) * count, self.scale or (1.0,) * count
        return torch.tensor(mean, dtype=torch.float64), torch.tensor(scale, dtype=torch.float64)


def _values(samples: Sequence[Sample], names: Names) -> Float[Tensor, "n K"]:
    return torch.tensor([sample.labels for sample in samples], dtype=torch.float64).reshape(len(samples), len(names))
