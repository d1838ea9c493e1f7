"""The protocol of a task: from labels to targets, from outputs to predictions, metrics and words."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ..data.samples import Sample, Source
from ..data.survey import Survey
from ..errors import VitrailError
from ..task_spec import TaskSpec

Names = Sequence[str]
"""What the outputs are called: classes, or the numbers of a regression."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What a model predicts for an image; each task adds its own fields.

    Attributes:
        path: the image, as the user named it or relative to the folder that was named.
        error: why there is no prediction, or None.
    """

    path: str = ""
    error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation(ABC):
    """How good predictions are; each task adds its own fields.

    Attributes:
        count: images.
        loss: mean loss, as the task defines it.
        note: which images these are.
    """

    count: int
    loss: float
    note: str | None = None

    @property
    @abstractmethod
    def quality(self) -> float:
        """What checkpoints are compared by; more is better."""

    @abstractmethod
    def headline(self) -> dict[str, float]:
        """The few numbers that a run is known by: the columns of the metric log, without their val_ or test_."""

    @abstractmethod
    def facts(self) -> list[tuple[str, str]]:
        """(name, value with its unit) for people: the first rows of the report, the model card and the terminal."""

    @abstractmethod
    def card_metrics(self) -> dict[str, float]:
        """Metric type, as the model hubs call it -> value, for the model card's index."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; what does not apply is left out."""


class Metrics(ABC):
    """Collects outputs with their targets, batch by batch, and compares them."""

    @abstractmethod
    def update(self, output: Any, target: Any) -> None:
        """Add a batch: what the model gave, float32 on the CPU, and what `Task.targets` gives for its samples."""

    @abstractmethod
    def compute(self) -> Evaluation:
        """The result over all batches.

        Raises:
            VitrailError: no samples, or outputs that are not finite.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """A chart of the report: columns of the metric log over the epochs.

    Attributes:
        title: of the chart.
        columns: what each line is called -> its column, such as {"top-1": "val_top1"}; those that are not there are
            left out.
        percent: the values are shares.
    """

    title: str
    columns: Mapping[str, str]
    percent: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """A sample whose prediction is far from its label: its index, both in words, and the size of the error."""

    index: int
    predicted: str
    truth: str
    size: str


class Task(ABC):
    """What a model is for. Built from the options of a `TaskSpec`; `tasks.resolve` finds the class.

    `check` of a task without labels, such as an embedding, always raises.
    """

    name: ClassVar[str]
    card_type: ClassVar[str]
    """The pipeline tag of the model hubs, such as "image-classification"."""
    heads: ClassVar[tuple[str, ...]] = ("classification", "regression", "embedding")
    """The tasks of models whose head gives what this one needs: by default those with one vector for each image."""
    objective: ClassVar[str]
    """The registered objective that learns from this task's labels; empty where there are no labels."""
    curve: ClassVar[Curve]
    """How the quality is drawn over the epochs."""

    @property
    @abstractmethod
    def spec(self) -> TaskSpec:
        """The name and options that give this task again."""

    # From the data

    @abstractmethod
    def check(self, survey: Survey) -> None:
        """Raise VitrailError where the labels of a source cannot be learned from, before anything is built."""

    def classes_of(self, sample: Sample) -> Collection[int]:
        """The classes that each part of a split should have its share of; one for all where there are no classes."""
        return (0,)

    def fitted(self, samples: Sequence[Sample], names: Names) -> "Task":
        """The task with what it learns from the training labels themselves, such as their mean; by default as it is."""
        return self

    @abstractmethod
    def targets(self, samples: Sequence[Sample], names: Names) -> Tensor:
        """The labels of samples as a tensor (or a pytree of tensors) whose first dimension is the samples'."""

    @abstractmethod
    def written(self, sample: Sample, names: Names) -> str:
        """The label of a sample as text, for splits.csv."""

    @abstractmethod
    def match(self, source: Source, names: Names) -> Source:
        """The source with its labels in the order of the model's names.

        Raises:
            VitrailError: labels of another kind, or ones that the model does not know.
        """

    # To the user

    @abstractmethod
    def decode(self, output: Any, names: Names, top_k: int | None = None) -> Sequence[Prediction]:
        """What the model gave for a batch (float32 on the CPU) -> a prediction for each image, without its path.

        Args:
            output: as the head gives it.
            names: of the outputs.
            top_k: how many classes, the most probable first; None for all. Tasks without classes have no use for it.
        """

    @abstractmethod
    def failed(self, path: str, error: str) -> Prediction:
        """The prediction of an image that could not be read."""

    @abstractmethod
    def columns(self, names: Names, top_k: int) -> dict[str, type[str] | type[float]]:
        """The columns of a table of predictions between `path` and `error`, and whether they hold text or numbers."""

    @abstractmethod
    def cells(self, prediction: Any, names: Names, top_k: int) -> list[str | float | None]:
        """A prediction as the cells of those columns; None where there is no value."""

    @abstractmethod
    def to_dict(self, prediction: Any) -> dict[str, Any]:
        """A prediction as plain JSON values, without path and error."""

    @abstractmethod
    def metrics(self, names: Names) -> Metrics:
        """Something that compares outputs with targets."""

    @abstractmethod
    def mistakes(self, output: Any, target: Any, names: Names, most: int) -> list[Mistake]:
        """The worst mistakes first."""

    @abstractmethod
    def label_words(self, target: Any, names: Names) -> str:
        """The target of one sample in words, for a caption."""

    @abstractmethod
    def count_words(self, names: Names) -> str:
        """How many outputs there are, in words: "3 classes"."""

    @abstractmethod
    def describe(self, names: Names) -> str:
        """What the model gives for an image, as the end of a sentence: "one of 3 classes: cat, cow, dog"."""

    @abstractmethod
    def report(self, evaluation: Any) -> list[str]:
        """Sections of report.html, as HTML."""

    @abstractmethod
    def summary(self, evaluation: Any) -> str:
        """The evaluation as text for a terminal."""


def same_kind(task: Task, source: Source) -> None:
    """Raise VitrailError where a source is labelled for another task than the model's."""
    if source.task.name != task.name:
        raise VitrailError(
            f"{source.name} is labelled for {source.task.name}, and this checkpoint is for {task.name}: give another "
            f"source, or read this one as it is meant with --task {task.name}"
        )
