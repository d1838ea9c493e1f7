"""The classification task, with one label or many for each image."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..data.samples import Sample, Source, takes_many
from ..data.survey import Survey
from ..errors import VitrailError
from ..nn import joined
from ..task_spec import TaskSpec
from .classification_evaluation import ClassEvaluation, Labels
from .classification_metrics import ClassMetrics
from .classification_report import class_sections, class_summary
from .outcomes import Cells, Curve, Mistake, Names, Prediction
from .task import Task, same_kind
from .temperature import FEWEST_FITTED, above_floor, fit_floor, fit_temperatures
from .thresholds import USUAL_THRESHOLD, fit_thresholds

_NAMED = 10
_DESCRIBED = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassPrediction(Prediction):
    """Predicted classes with their probabilities.

    Attributes:
        classes: (class name, probability), the most probable first; empty if the image could not be read.
        present: names of the classes whose probability reaches its threshold; None with one label.
    """

    classes: tuple[tuple[str, float], ...] = ()
    present: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Classification(Task):
    """Classification: softmax logits of exclusive classes, or sigmoid logits of independent classes.

    Attributes:
        labels: "one" class for each image, or "many": any number, including none.
        temperature: the numbers by which logits are divided before they become probabilities, one for all classes or
            one for each; empty: they are not divided. Training fits them on the validation split, see `calibrated`.
        floor: probability that label smoothing has taught the model to give to wrong classes ("one"), which is taken
            out of the probabilities before the temperature, see `above_floor`; fitted likewise; 0: none.
        thresholds: probability of each class from which it is predicted ("many"), fitted likewise; empty: 0.5.
    """

    name: ClassVar[str] = "classification"
    card_type: ClassVar[str] = "image-classification"
    objective: ClassVar[str] = "supervised"
    curve: ClassVar[Curve] = Curve(
        title="Validation quality",
        columns={"top-1": "val_top1", "mean average precision": "val_mean_average_precision"},
        percent=True,
    )

    decoded_name: ClassVar[str] = "probabilities"

    labels: Labels = "one"
    temperature: tuple[float, ...] = ()
    floor: float = 0.0
    thresholds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.labels not in ("one", "many"):
            raise VitrailError(f"classification has labels {self.labels!r}: it takes one or many")
        if bad := [value for value in self.temperature if not 0 < value < math.inf]:
            raise VitrailError(f"classification has a temperature of {bad[0]}: it needs to be more than 0 and finite")
        if not 0 <= self.floor < 1:
            raise VitrailError(f"classification has a floor of {self.floor}: it is a probability, from 0 to below 1")
        if self.floor and self.labels == "many":
            raise VitrailError("classification has a floor for many labels: it is for labels=one")
        if bad := [value for value in self.thresholds if not 0 <= value <= 1]:
            raise VitrailError(f"classification has a threshold of {bad[0]}: it is a probability, from 0 to 1")
        if self.thresholds and self.labels == "one":
            raise VitrailError("classification has thresholds for one label: they are for labels=many")

    @property
    def spec(self) -> TaskSpec:
        options = {"labels": self.labels} if self.labels != "one" else {}
        fitted = {"temperature": self.temperature} if self.temperature else {}
        raised = {"floor": self.floor} if self.floor else {}
        chosen = {"thresholds": self.thresholds} if self.thresholds else {}
        return TaskSpec.of(self.name, **options, **fitted, **raised, **chosen)

    def check(self, survey: Survey) -> None:
        """Raise VitrailError for fewer than two classes or images, or if no class has two images."""
        survey.require_trainable()

    def classes_of(self, sample: Sample) -> Collection[int]:
        return sample.labels

    def targets(self, samples: Sequence[Sample], names: Names) -> Float[Tensor, "n K"]:
        """Targets (n, K) float32: 1 for the classes of an image, 0 elsewhere."""
        targets = torch.zeros(len(samples), len(names))
        for row, sample in enumerate(samples):
            targets[row, list(sample.labels)] = 1
        return targets

    def written(self, sample: Sample, names: Names) -> str:
        return "|".join(names[label] for label in sample.labels)

    def label_cells(self, source: Source, names: Names) -> list[Cells] | None:
        """Names of the true classes, of which the model need not have all; None if it has none of the source's."""
        if source.label_kind != "classes" or not set(source.class_names) & set(names):
            return None
        return [("|".join(source.class_names[label] for label in sample.labels),) for sample in source.samples]

    def match(self, source: Source, names: Names) -> Source:
        """Return the source with class indices in the model's order; it may lack some of the model's classes."""
        same_kind(self, source)
        if not names:
            raise VitrailError("the checkpoint has no class names to match labels with: save it with class_names")
        if takes_many(source.task) and self.labels == "one":
            raise VitrailError(
                f"{source.name} has several labels for each image, and this checkpoint is single-label: evaluate a "
                "multi-label one, or train it on this source"
            )
        place = {name: index for index, name in enumerate(names)}
        unknown = [name for name in source.class_names if name not in place]
        if unknown:
            raise VitrailError(
                f"the checkpoint lacks {len(unknown)} classes of {source.name}: {_some(unknown)}; it "
                f"has {_some(names)}. Rename them, or leave them out"
            )
        order = [place[name] for name in source.class_names]
        samples = tuple(replace(s, labels=tuple(order[label] for label in s.labels)) for s in source.samples)
        return replace(source, class_names=tuple(names), samples=samples, task=self.spec)

    def calibrated(self, output: Float[Tensor, "n K"], target: Float[Tensor, "n K"]) -> "Classification":
        """The task with the temperatures, and the floor or with many labels the thresholds, that suit these outputs and
        targets best; unchanged for a few images."""
        if len(output) < FEWEST_FITTED:
            return self
        if self.labels == "many":
            cooled = replace(self, temperature=fit_temperatures(output, target), thresholds=())
            return replace(cooled, thresholds=fit_thresholds(cooled.probabilities(output.double()), target))
        floor, temperature = fit_floor(output, target.argmax(dim=1), prior=1.0)
        return replace(self, temperature=(temperature,), floor=floor)

    def scaled(self, output: Float[Tensor, "*batch K"]) -> Float[Tensor, "*batch K"]:
        """Logits above the floor, divided by the temperature.

        Raises:
            VitrailError: there are temperatures for another number of classes.
        """
        output = above_floor(output, self.floor)
        if not self.temperature:
            return output
        if len(self.temperature) not in (1, output.shape[-1]):
            raise VitrailError(
                f"the checkpoint has temperatures for {len(self.temperature)} classes and outputs for "
                f"{output.shape[-1]}: train it anew, or remove temperature from the task in model.json"
            )
        return output / output.new_tensor(self.temperature)

    def joined(self, output: Any) -> Any:
        """The mean of the logits of a head with two classifiers; other logits unchanged."""
        return joined(output)

    def probabilities(self, output: Float[Tensor, "*batch K"]) -> Float[Tensor, "*batch K"]:
        """Probability of each class: softmax over the classes, or a sigmoid for each, of the scaled logits."""
        scaled = self.scaled(output)
        return scaled.softmax(dim=-1) if self.labels == "one" else scaled.sigmoid()

    def decoded(self, output: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """Probabilities of the classes."""
        return self.probabilities(output)

    def merged(self, outputs: Sequence[Float[Tensor, "B K"]]) -> Float[Tensor, "B K"]:
        """Logits whose probabilities, before floor and temperature, are the mean of those of several outputs.

        Calibration comes after the mean, as the mean of calibrated probabilities is not confident enough (Rahaman &
        Thiery, 2021, "Uncertainty quantification and deep ensembles").
        """
        stacked = torch.stack([output.double() for output in outputs])
        if self.labels == "one":
            return stacked.log_softmax(dim=-1).logsumexp(dim=0).float()
        return (F.logsigmoid(stacked).logsumexp(dim=0) - F.logsigmoid(-stacked).logsumexp(dim=0)).float()

    def decode(self, output: Float[Tensor, "B K"], names: Names, top_k: int | None = None) -> Sequence[ClassPrediction]:
        """The `top_k` most probable classes of each image, or all of them; and with many labels those it shows."""
        count = min(top_k or len(names), len(names))
        probabilities = self.probabilities(output)
        values, indices = probabilities.topk(count, dim=1)
        present: Sequence[tuple[str, ...] | None] = [None] * len(output)
        if self.labels == "many":
            above = probabilities >= self.limits(len(names)).to(probabilities.dtype)
            present = [tuple(names[index] for index in row.nonzero().flatten().tolist()) for row in above]
        return [
            ClassPrediction(
                classes=tuple((names[index], value) for index, value in zip(*row, strict=True)), present=shown
            )
            for *row, shown in zip(indices.tolist(), values.tolist(), present, strict=True)
        ]

    def limits(self, count: int) -> Float[Tensor, " K"]:
        """The threshold of each class, float64.

        Raises:
            VitrailError: there are thresholds for another number of classes.
        """
        if len(self.thresholds) not in (0, count):
            raise VitrailError(
                f"the checkpoint has thresholds for {len(self.thresholds)} classes and outputs for {count}: train it "
                "anew, or remove thresholds from the task in model.json"
            )
        return torch.tensor(self.thresholds or (USUAL_THRESHOLD,) * count, dtype=torch.float64)

    def shown_from(self, threshold: float, names: Names) -> "Classification":
        if self.labels == "one":
            raise VitrailError("each image has one class, without a threshold: leave --threshold out, or use --top-k")
        return replace(self, thresholds=(threshold,) * len(names))

    def failed(self, path: str, error: str) -> ClassPrediction:
        return ClassPrediction(path=path, error=error)

    def columns(self, names: Names, top_k: int) -> dict[str, type[str] | type[float]]:
        ranks = ["", *(f"_{rank}" for rank in range(2, _ranks(names, top_k) + 1))]
        kinds: dict[str, type[str] | type[float]] = {"class": str, "probability": float}
        shown: dict[str, type[str] | type[float]] = {"present": str} if self.labels == "many" else {}
        return {**shown, **{f"{word}{rank}": kind for rank in ranks for word, kind in kinds.items()}}

    def cells(self, prediction: ClassPrediction, names: Names, top_k: int) -> list[str | float | None]:
        ranks = _ranks(names, top_k)
        known = [cell for name, value in prediction.classes[:ranks] for cell in (name, value)]
        shown = None if prediction.present is None else "|".join(prediction.present)
        first = [shown] if self.labels == "many" else []
        return [*first, *known, *[None] * (2 * ranks - len(known))]

    def to_dict(self, prediction: ClassPrediction) -> dict[str, object]:
        shown = {} if prediction.present is None else {"present": list(prediction.present)}
        classes = [{"class": name, "probability": round(value, 6)} for name, value in prediction.classes]
        return {**shown, "classes": classes}

    def metrics(self, names: Names) -> ClassMetrics:
        limits = self.limits(len(names)) if self.thresholds else None
        return ClassMetrics(names, self.labels, self.scaled if self.temperature or self.floor else None, limits)

    def mistakes(
        self, output: Float[Tensor, "n K"], target: Float[Tensor, "n K"], names: Names, most: int
    ) -> list[Mistake]:
        """The most confident wrong predictions; none with many labels, where no single class is right or wrong."""
        if self.labels == "many":
            return []
        confidence, predicted = self.probabilities(output).max(1)
        truth = target.argmax(1)
        wrong = (predicted != truth).nonzero().flatten()
        worst = wrong[confidence[wrong].argsort(descending=True, stable=True)][:most]
        columns = (worst, predicted[worst], truth[worst], confidence[worst])
        return [
            Mistake(index=index, predicted=names[guess], truth=names[right], size=f"{probability:.0%}")
            for index, guess, right, probability in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def label_words(self, target: Float[Tensor, " K"], names: Names) -> str:
        return ", ".join(names[index] for index in target.nonzero().flatten()) or "none"

    def count_words(self, names: Names) -> str:
        many = "" if self.labels == "one" else ", any number of them in an image"
        return f"{len(names)} classes{many}"

    def describe(self, names: Names) -> str:
        listed = ", ".join(names[:_DESCRIBED]) + (" …" if len(names) > _DESCRIBED else "")
        return f"{'one of' if self.labels == 'one' else 'any number of'} {len(names)} classes: {listed}"

    def report(self, evaluation: ClassEvaluation) -> list[str]:
        return class_sections(evaluation)

    def summary(self, evaluation: ClassEvaluation) -> str:
        return class_summary(evaluation)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _ranks(names: Names, top_k: int) -> int:
    """Number of classes in a row of a table: a model of three classes has no fifth."""
    return min(top_k, len(names))
