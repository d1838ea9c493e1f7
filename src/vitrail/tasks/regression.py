"""The regression task: one or several numbers for each image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..data.samples import Sample, Source
from ..data.survey import Survey
from ..errors import VitrailError
from ..pages.charts import scatter_chart
from ..pages.html import section, table
from ..tables import number_text, plain_table
from ..task_spec import TaskSpec
from .outcomes import Cells, Curve, Mistake, Names, Prediction
from .regression_metrics import ValueEvaluation, ValueMetrics
from .task import Task, same_kind
from .worth import with_margin


@dataclass(frozen=True, kw_only=True, slots=True)
class ValuePrediction(Prediction):
    """Predicted (name, number) pairs; empty if the image could not be read."""

    values: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Regression(Task):
    """Regression: outputs are numbers standardised by the training labels' mean and deviation.

    Attributes:
        mean, scale: mean and standard deviation of each number in the training labels; empty (0 and 1) before training.
    """

    name: ClassVar[str] = "regression"
    card_type: ClassVar[str] = "image-feature-extraction"
    objective: ClassVar[str] = "regression"
    curve: ClassVar[Curve] = Curve(title="Validation R²", columns={"R²": "val_r2"})

    decoded_name: ClassVar[str] = "values"

    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        numbers = all(isinstance(value, int | float) for value in (*self.mean, *self.scale))
        if not numbers or len(self.mean) != len(self.scale) or not all(value > 0 for value in self.scale):
            raise VitrailError(
                f"regression has mean {self.mean} and scale {self.scale}: it needs numbers, and a positive scale for "
                "each mean"
            )

    @property
    def spec(self) -> TaskSpec:
        if not self.mean:
            return TaskSpec("regression")
        return TaskSpec.of("regression", mean=list(self.mean), scale=list(self.scale))

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
        """Return the task with mean and deviation of the training labels."""
        values = _values(samples, names)
        scale = values.std(dim=0, correction=0)
        return Regression(mean=tuple(values.mean(dim=0).tolist()), scale=tuple(scale.where(scale > 0, 1.0).tolist()))

    def continued(self, previous: TaskSpec) -> "Regression | None":
        """The previous task, whose mean and deviation the head was trained with, if they suit the new labels.

        They do if each new mean is within three of the old deviations and no deviation changed by more than a factor of
        three. Otherwise the unit has probably changed.
        """
        if previous.name != self.name:
            return None
        old = Regression(**{name: tuple(values) for name, values in previous.options})
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

    def decode(self, output: Float[Tensor, "B K"], names: Names, top_k: int | None = None) -> Sequence[ValuePrediction]:
        """Predicted numbers of each image, in the units of the labels."""
        return [ValuePrediction(values=tuple(zip(names, row, strict=True))) for row in self.values(output).tolist()]

    def failed(self, path: str, error: str) -> ValuePrediction:
        return ValuePrediction(path=path, error=error)

    def columns(self, names: Names, top_k: int) -> dict[str, type[str] | type[float]]:
        return dict.fromkeys(names, float)

    def cells(self, prediction: ValuePrediction, names: Names, top_k: int) -> list[str | float | None]:
        return [value for _, value in prediction.values] or [None] * len(names)

    def to_dict(self, prediction: ValuePrediction) -> dict[str, Any]:
        return {"values": dict(prediction.values)}

    def metrics(self, names: Names) -> ValueMetrics:
        return ValueMetrics(names, self.values)

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
        return f"{len(names)} number{'s' * (len(names) > 1)}"

    def describe(self, names: Names) -> str:
        return f"{self.count_words(names)}: {', '.join(names)}"

    def report(self, evaluation: ValueEvaluation) -> list[str]:
        """HTML sections: a scatter chart of each number, and a table of the errors."""
        charts = "".join(
            f"<div><h3>{title}</h3>{chart}</div>"
            for title, chart in (
                (
                    escape(row.name),
                    scatter_chart(points, label=row.name, x_label="truth", y_label="predicted", diagonal=True),
                )
                for row, points in zip(evaluation.per_value, evaluation.points, strict=True)
            )
        )
        note = "A dot is a held-out image; on the dashed line the prediction is exact."
        return [
            section("Predicted and true numbers", f'<div class="charts">{charts}</div>', note),
            section("Errors", table(_HEAD, _rows(evaluation))),
        ]

    def summary(self, evaluation: ValueEvaluation) -> str:
        margin = None if evaluation.loss_margin is None else f"{evaluation.loss_margin:.4f}"
        loss = with_margin(f"{evaluation.loss:.4f}", margin)
        overall = [("images", f"{evaluation.count:,}"), *evaluation.facts(), ("loss", loss)]
        tables = plain_table(overall[0], overall[1:]), plain_table(_HEAD, _rows(evaluation))
        return "\n\n".join([tables[0], *evaluation.cautions(), tables[1]])

    def _moments(self, count: int) -> tuple[Tensor, Tensor]:
        if self.mean and len(self.mean) != count:
            raise VitrailError(f"the task was fitted to {len(self.mean)} numbers, not {count}: fit it again")
        mean, scale = self.mean or (0.0,) * count, self.scale or (1.0,) * count
        return torch.tensor(mean, dtype=torch.float64), torch.tensor(scale, dtype=torch.float64)


_HEAD = ("number", "mean absolute error", "root mean squared error", "R²")


def _rows(evaluation: ValueEvaluation) -> list[tuple[str, str, str, str]]:
    return [
        (
            row.name,
            row.error_text,
            number_text(row.root_mean_squared_error),
            row.r2_text,
        )
        for row in evaluation.per_value
    ]


def _values(samples: Sequence[Sample], names: Names) -> Float[Tensor, "n K"]:
    return torch.tensor([sample.labels for sample in samples], dtype=torch.float64).reshape(len(samples), len(names))
