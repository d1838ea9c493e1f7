"""The universal task: several tasks of one model, each with a head of its own."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils._pytree import tree_map

from ..data.samples import Sample, Source
from ..data.survey import Survey
from ..data.targets import Targets
from ..errors import VitrailError, nearest
from ..models.fields import ModelConfig
from ..nn import TaskOutputs
from ..pages.html import section
from ..task_spec import TaskSpec
from .classification import Classification
from .classification_metrics import ClassMetrics
from .depth import Depth
from .detection import Detection
from .object_prediction import QueriedObject
from .outcomes import Cells, Curve, Metrics, Mistake, Names, Panel, Prediction
from .placed import PlacedTask
from .segmentation import Segmentation
from .task import Task, same_kind
from .universal_labels import KINDS, UniversalReaders, UniversalTargets, samples_of
from .universal_metrics import UniversalEvaluation, UniversalMetrics

_FITTED = ("middle", "deepest", "threshold", "temperature", "floor")
"""Options that training fits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UniversalPrediction(Prediction):
    """Predictions of each task, by its name; empty if the image could not be read."""

    predictions: Mapping[str, Prediction] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Universal(PlacedTask):
    """Several tasks: outputs are `TaskOutputs`, and the labels of a sample (task, labels) pairs.

    Attributes:
        tasks: names of the tasks.
        object_names, pixel_names: classes of the objects and of the pixels; those of the image are the output names.
        middle, deepest: see `Depth`.
        threshold: see `Detection`.
        temperature, floor: see `Classification`.
    """

    name: ClassVar[str] = "universal"
    card_type: ClassVar[str] = "image-feature-extraction"
    heads: ClassVar[tuple[str, ...]] = ("universal",)
    objective: ClassVar[str] = "universal"
    curve: ClassVar[Curve] = Curve(
        title="Validation metrics",
        columns={
            "top-1": "val_classification_top1",
            "AP50": "val_detection_ap50",
            "mean IoU": "val_segmentation_mean_iou",
            "δ1": "val_depth_delta1",
        },
        percent=True,
    )
    loss_words: ClassVar[str] = "the sum of the validation losses of the tasks"

    tasks: tuple[str, ...] = tuple(KINDS)
    object_names: tuple[str, ...] = ()
    pixel_names: tuple[str, ...] = ()
    middle: float | None = None
    deepest: float | None = None
    threshold: float | None = None
    temperature: tuple[float, ...] = ()
    floor: float = 0.0

    def __post_init__(self) -> None:
        unknown = [name for name in self.tasks if name not in KINDS]
        if unknown or not self.tasks or len(set(self.tasks)) < len(self.tasks):
            word = nearest(unknown[0], KINDS) if unknown else f"choose some of {', '.join(KINDS)}, each once"
            raise VitrailError(f"universal has tasks {self.tasks}: {word}")

    @property
    def spec(self) -> TaskSpec:
        names = {"object_names": self.object_names, "pixel_names": self.pixel_names}
        fitted = {name: getattr(self, name) for name in _FITTED}
        known = {key: value for key, value in {**names, **fitted}.items() if value not in (None, ())}
        if not self.floor:
            del known["floor"]
        return TaskSpec.of("universal", tasks=self.tasks, **known)

    @cached_property
    def parts(self) -> dict[str, Task]:
        """The tasks by name."""
        makers: dict[str, Callable[[], Task]] = {
            "classification": lambda: Classification(temperature=self.temperature, floor=self.floor),
            "detection": lambda: Detection(threshold=self.threshold),
            "segmentation": Segmentation,
            "depth": lambda: Depth(middle=self.middle, deepest=self.deepest),
        }
        return {name: makers[name]() for name in self.tasks}

    def names_of(self, task: str, names: Names) -> tuple[str, ...]:
        """Names of the outputs of a task.

        Args:
            task: its name.
            names: names of the classes of images.
        """
        found = {"classification": names, "detection": self.object_names, "segmentation": self.pixel_names}
        return tuple(found.get(task, ()))

    def model_fields(self, config: ModelConfig, names: Names) -> Mapping[str, Any]:
        return config.output_fields({task: len(self.names_of(task, names)) for task in self.tasks})

    # From the data

    def check(self, survey: Survey) -> None:
        """Raise VitrailError if the labels of a task cannot be trained on."""
        for name, task in self.parts.items():
            task.check(replace(survey, source=self._source_of(name, survey.source)))

    def classes_of(self, sample: Sample) -> Collection[int]:
        labels = dict(sample.labels)
        found: Collection[int] = labels.get("classification", (0,))
        return found

    def fitted(self, samples: Sequence[Sample], names: Names) -> "Universal":
        if "depth" not in self.tasks:
            return self
        found = Depth().fitted(samples_of("depth", samples), ())
        return replace(self, middle=found.middle, deepest=found.deepest)

    def continued(self, previous: TaskSpec) -> "Universal | None":
        return self if previous.name == self.name and previous.without(*_FITTED) == self._plain else None

    @property
    def _plain(self) -> TaskSpec:
        return self.spec.without(*_FITTED)

    def targets(self, samples: Sequence[Sample], names: Names) -> UniversalTargets:
        """The targets of each task."""
        found = {
            name: task.targets(samples_of(name, samples), self.names_of(name, names))
            for name, task in self.parts.items()
        }
        return UniversalTargets(found)

    def target_reader(self, samples: Sequence[Sample], names: Names) -> Targets:
        readers = (
            (name, task.target_reader(samples_of(name, samples), self.names_of(name, names)))
            for name, task in self.parts.items()
        )
        return UniversalReaders(tuple(readers))

    def example_target(self, config: ModelConfig, names: Names) -> dict[str, Any]:
        found = {
            name: task.example_target(config, self.names_of(name, names))
            for name, task in self.parts.items()
            if isinstance(task, PlacedTask)
        }
        return {**({"classification": torch.zeros(len(names))} if "classification" in self.tasks else {}), **found}

    def written(self, sample: Sample, names: Names) -> str:
        words = (
            task.written(one, self.names_of(name, names))
            for name, task in self.parts.items()
            for one in samples_of(name, [sample])
        )
        return "; ".join(word for word in words if word)

    def label_columns(self, names: Names) -> dict[str, type[str] | type[float]]:
        return {}

    def true_cells(self, sample: Sample, names: Names) -> Cells:
        return ()

    def match(self, source: Source, names: Names) -> Source:
        """Return the source, whose names are those of the model for each task.

        Raises:
            VitrailError: labels of other tasks, or other names.
        """
        same_kind(self, source)
        given = Universal(**dict(source.task.options))
        if (given.tasks, given.object_names, given.pixel_names) != (self.tasks, self.object_names, self.pixel_names):
            ours, theirs = ({*one.object_names, *one.pixel_names} for one in (self, given))
            names = f"; only one of them has the names {', '.join(sorted(ours ^ theirs))}" if ours != theirs else ""
            raise VitrailError(
                f"{source.name} has other tasks or names than the checkpoint, which has {', '.join(self.tasks)}{names}"
                ": give a source with the same ones, or rename those of the checkpoint with `vitrail rename-classes`"
            )
        if "classification" in self.tasks and tuple(source.class_names) != tuple(names):
            raise VitrailError(f"{source.name} has other classes of images than the checkpoint: give the same ones")
        return source

    # To the user

    def decode(self, output: TaskOutputs, names: Names, top_k: int | None = None) -> Sequence[UniversalPrediction]:
        """Predictions of each task for each image."""
        columns = {
            name: task.decode(task.joined(getattr(output, name)), self.names_of(name, names), top_k)
            for name, task in self.parts.items()
        }
        rows = zip(*columns.values(), strict=True)
        return [UniversalPrediction(predictions=dict(zip(columns, row, strict=True))) for row in rows]

    def queried(self, output: TaskOutputs, names: Names) -> Sequence[QueriedObject]:
        """The objects of the queries of the task that has some."""
        found = (task.queried(getattr(output, name), self.names_of(name, names)) for name, task in self.parts.items())
        return next((objects for objects in found if objects), ())

    def failed(self, path: str, error: str) -> UniversalPrediction:
        return UniversalPrediction(path=path, error=error)

    def columns(self, names: Names, top_k: int) -> dict[str, type[str] | type[float]]:
        """The columns of each task, after its name and a space."""
        return {
            f"{name} {column}": kind
            for name, task in self.parts.items()
            for column, kind in task.columns(self.names_of(name, names), top_k).items()
        }

    def cells(self, prediction: UniversalPrediction, names: Names, top_k: int) -> list[str | float | None]:
        found: list[str | float | None] = []
        for name, task in self.parts.items():
            own = self.names_of(name, names)
            if name in prediction.predictions:
                found += task.cells(self._sized(prediction, name), own, top_k)
            else:
                found += [None] * len(task.columns(own, top_k))
        return found

    def to_dict(self, prediction: UniversalPrediction) -> dict[str, Any]:
        return {name: self.parts[name].to_dict(self._sized(prediction, name)) for name in prediction.predictions}

    def _sized(self, prediction: UniversalPrediction, name: str) -> Prediction:
        """The prediction of a task, with the size of the image."""
        return replace(prediction.predictions[name], path=prediction.path, size=prediction.size)

    def metrics(self, names: Names) -> UniversalMetrics:
        return UniversalMetrics({name: task.metrics(self.names_of(name, names)) for name, task in self.parts.items()})

    @property
    def is_open(self) -> bool:
        return any(self._open(name) for name in self.tasks)

    def _open(self, task: str) -> bool:
        """Whether training has to fit something of a task on the validation split."""
        return (task == "detection" and self.threshold is None) or (task == "classification" and not self.temperature)

    def fitted_to(self, metrics: Metrics) -> "Universal":
        """The task with the threshold of objects and the temperature of classes, unless they are given."""
        assert isinstance(metrics, UniversalMetrics)
        found = self
        if self._open("detection") and (objects := metrics.parts.get("detection")):
            found = replace(found, threshold=Detection().fitted_to(objects).threshold)
        if self._open("classification") and isinstance(classes := metrics.parts.get("classification"), ClassMetrics):
            scaled = Classification().calibrated(*classes.collected)
            found = replace(found, temperature=scaled.temperature, floor=scaled.floor)
        return found

    def shown_from(self, threshold: float, names: Names) -> "Universal":
        if "detection" not in self.tasks:
            raise VitrailError("this checkpoint finds no objects, which a threshold is for: leave --threshold out")
        return replace(self, threshold=threshold)

    def errors(self, output: TaskOutputs, target: UniversalTargets) -> Float[Tensor, " B"]:
        """Sum of the errors of the tasks with places."""
        found = [
            task.errors(getattr(output, name), target.parts[name])
            for name, task in self.parts.items()
            if isinstance(task, PlacedTask)
        ]
        return torch.stack(found).sum(0) if found else torch.zeros(len(output.classification))  # type: ignore[arg-type]

    def mistakes(self, output: TaskOutputs, target: UniversalTargets, names: Names, most: int) -> list[Mistake]:
        """The images with the largest sum of errors, and the worst task of each in words."""
        wrong = self.errors(output, target)
        worst = wrong.argsort(descending=True, stable=True)[:most].tolist()
        return [self._mistake(output, target, names, index) for index in worst]

    def _mistake(self, output: TaskOutputs, target: UniversalTargets, names: Names, index: int) -> Mistake:
        found: dict[str, Mistake] = {}
        for name, task in self.parts.items():
            one = tree_map(lambda values: values[index : index + 1], getattr(output, name))
            own = target.parts[name][index : index + 1]
            for mistake in task.mistakes(task.joined(one), own, self.names_of(name, names), 1):
                found[name] = mistake
        return Mistake(
            index=index,
            predicted="; ".join(one.predicted for one in found.values()),
            truth="; ".join(one.truth for one in found.values()),
            size="; ".join(f"{name} {one.size}" for name, one in found.items()),
        )

    def panels(self, image: UInt8[Tensor, "3 H W"], target: Any, output: Any, names: Names) -> list[Panel]:
        parts = target.parts if isinstance(target, UniversalTargets) else target
        found = []
        for name, task in self.parts.items():
            own = None if output is None else getattr(output, name)
            for panel in task.panels(image, parts[name], own, self.names_of(name, names)):
                if panel.caption != "image":
                    found.append(Panel(f"{name}, {panel.caption}", panel.image))
        return found

    def drawn(self, image: UInt8[Tensor, "3 H W"], prediction: UniversalPrediction, names: Names) -> dict[str, bytes]:
        """The files of each task, after its name."""
        return {
            f"-{name}{suffix.removeprefix(f'-{name}')}": content
            for name, task in self.parts.items()
            if isinstance(task, PlacedTask)
            for suffix, content in task.drawn(image, self._sized(prediction, name), self.names_of(name, names)).items()
        }

    def label_words(self, target: Any, names: Names) -> str:
        parts = target.parts if isinstance(target, UniversalTargets) else target
        return "; ".join(task.label_words(parts[name], self.names_of(name, names)) for name, task in self.parts.items())

    def count_words(self, names: Names) -> str:
        return "; ".join(task.count_words(self.names_of(name, names)) for name, task in self.parts.items())

    def describe(self, names: Names) -> str:
        return "; ".join(task.describe(self.names_of(name, names)) for name, task in self.parts.items())

    def report(self, evaluation: UniversalEvaluation) -> list[str]:
        """HTML sections of each task, under its name."""
        found: list[str] = []
        for name, part in evaluation.parts.items():
            found += [section(name.capitalize(), ""), *self.parts[name].report(part)]
        return found

    def summary(self, evaluation: UniversalEvaluation) -> str:
        return "\n\n".join(f"{name}\n{self.parts[name].summary(part)}" for name, part in evaluation.parts.items())

    def _source_of(self, task: str, source: Source) -> Source:
        """The source with the labels of one task."""
        return replace(
            source,
            class_names=self.names_of(task, source.class_names),
            samples=tuple(samples_of(task, source.samples)),
            task=TaskSpec(task),
            label_kind=KINDS[task],
        )
