"""Base classes of a task: labels -> targets, outputs -> predictions, metrics and text."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils._pytree import tree_map

from ..data.samples import BadFile, Sample, Source
from ..data.survey import Survey
from ..data.targets import Rows, Targets
from ..errors import VitrailError
from ..models.fields import ModelConfig
from ..task_spec import TaskSpec
from .worth import Baseline, few_images

Names = Sequence[str]
"""Names of the outputs: classes, or the numbers of a regression."""

Cells = tuple[str | float | None, ...]
"""Cells of a row of a table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """Prediction for an image; each task adds its own fields.

    Attributes:
        path: path of the image, as the user gave it or relative to the given folder.
        error: the reason if there is no prediction, or None.
        label: the true label, as in `Task.true_cells`; empty if it is not known.
        size: (height, width) of the image in pixels; None if it could not be read.
    """

    path: str = ""
    error: str | None = None
    label: Cells = ()
    size: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation(ABC):
    """Evaluation on labelled images; each task adds its own metrics.

    Attributes:
        count: number of images.
        loss: mean loss, as the task defines it.
        note: which images they are, or None.
        loss_margin: half of the 95 % interval of the loss; None if it is not known.
        bad: files of the source that could not be used and were left out.
    """

    count: int
    loss: float
    note: str | None = None
    loss_margin: float | None = None
    bad: tuple[BadFile, ...] = ()

    @property
    @abstractmethod
    def quality(self) -> float:
        """Number by which checkpoints are compared; higher is better."""

    @abstractmethod
    def headline(self) -> dict[str, float]:
        """Name -> value of the main metrics: the columns of the metric log without the prefix val_ or test_."""

    @abstractmethod
    def facts(self) -> list[tuple[str, str]]:
        """(name, value with its unit) of the main metrics, for the report, the model card and the terminal."""

    def baseline(self) -> Baseline | None:
        """The best constant answer, to compare with; by default None."""
        return None

    def cautions(self) -> list[str]:
        """Sentences on what the result is worth: few images, or no better than a constant answer."""
        baseline = self.baseline()
        return [*few_images(self.count), *([baseline.sentence] if baseline and baseline.sentence else [])]

    @abstractmethod
    def card_metrics(self) -> dict[str, float]:
        """Metric type, as on the model hubs -> value, for the front matter of the model card."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; metrics that do not apply are left out."""


class Metrics(ABC):
    """Collects outputs and targets batch by batch, and computes an evaluation."""

    @abstractmethod
    def update(self, output: Any, target: Any) -> None:
        """Add a batch: the model's output, float32 on the CPU, and the targets of its samples, see `Task.targets`."""

    @abstractmethod
    def compute(self) -> Evaluation:
        """Compute the evaluation over all batches.

        Raises:
            VitrailError: no samples, or outputs that are not finite.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """A line chart of the report: columns of the metric log over the epochs.

    Attributes:
        title: title of the chart.
        columns: name of a line -> its column, such as {"top-1": "val_top1"}; missing columns are left out.
        percent: whether the values are fractions, to show in per cent.
    """

    title: str
    columns: Mapping[str, str]
    percent: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """A wrong prediction: index of the sample, predicted and true label in words, and the size of the error."""

    index: int
    predicted: str
    truth: str
    size: str


class Document(Protocol):
    """Collects predictions for one JSON file."""

    def add(self, prediction: Any) -> None:
        """Add the prediction for an image."""

    def content(self) -> dict[str, Any]:
        """The content of the file: plain JSON values."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture for the report: what it shows, as "truth", and the picture."""

    caption: str
    image: UInt8[Tensor, "3 H W"]


class Task(ABC):
    """Base class of a task. Built from the options of a `TaskSpec`; `tasks.resolve` finds the class.

    For a task without labels, such as an embedding, `check` always raises.
    """

    name: ClassVar[str]
    card_type: ClassVar[str]
    """The pipeline tag of the model hubs, such as "image-classification"."""
    heads: ClassVar[tuple[str, ...]] = ("classification", "regression", "embedding")
    """Tasks whose models have outputs that this one can use: by default those with one vector for each image."""
    objective: ClassVar[str]
    """Name of the objective that trains on this task's labels; empty if there are no labels."""
    curve: ClassVar[Curve]
    """Chart of the quality over the epochs."""
    decoded_name: ClassVar[str] = "output"
    """Name of the tensor that `decoded` returns."""
    whole_image: ClassVar[bool] = False
    """Whether outputs have places in the image: it is resized as a whole, not cropped, and fractions of its sides stay
    what they are."""
    by_vectors: ClassVar[bool] = False
    """Whether it interprets the embeddings of images, `embed_images`, in place of the output of `forward`."""
    predict_flags: ClassVar[str] = ""
    """Options that `vitrail predict` needs for its checkpoints, as an example for the user."""
    keeps_outputs: ClassVar[bool] = True
    """Whether the outputs of a split fit in memory, as one vector for each image does; they are then kept, for
    calibration and the report. A task that keeps none has `errors`."""

    @property
    @abstractmethod
    def spec(self) -> TaskSpec:
        """Name and options, from which `resolve` builds the task."""

    # From the data

    @abstractmethod
    def check(self, survey: Survey) -> None:
        """Raise VitrailError if a source's labels cannot be trained on, before anything is built."""

    def classes_of(self, sample: Sample) -> Collection[int]:
        """Classes of a sample, for stratified splits; the same for all samples if there are no classes."""
        return (0,)

    def fitted(self, samples: Sequence[Sample], names: Names) -> "Task":
        """Return the task with statistics of the training labels, such as their mean; by default unchanged."""
        return self

    def bound(self, config: ModelConfig, tokenizer: str | None, model: Any = None) -> "Task":
        """Return the task with what it needs of a checkpoint besides outputs; by default unchanged.

        Args:
            config: config of the model.
            tokenizer: content of the checkpoint's `tokenizer.json`, or None.
            model: the model, whose other parts metrics run, such as a text encoder; None: nothing is evaluated.
        """
        return self

    @property
    def tokenizer_json(self) -> str | None:
        """Content of the `tokenizer.json` for a fresh model; None for tasks without texts."""
        return None

    def model_fields(self, config: ModelConfig, names: Names) -> Mapping[str, Any]:
        """Fields to change in the config of a model for these labels: by default the number of outputs."""
        return config.output_fields({self.name: len(names)})

    def continued(self, previous: TaskSpec) -> "Task | None":
        """Return the task for fine-tuning a head that was trained for `previous` on outputs with the same names.

        By default this task, if the name is the same. None if the outputs mean something else: the head starts anew.
        """
        return self if previous.name == self.name else None

    def warnings(self, samples: Sequence[Sample]) -> list[str]:
        """Sentences about training labels that the model will not see as they are; by default none."""
        return []

    @abstractmethod
    def targets(self, samples: Sequence[Sample], names: Names) -> Any:
        """Convert labels to what metrics compare outputs with, for training and evaluation.

        A tensor, or a pytree of tensors, whose first dimension is that of the samples; or, for labels of any size such
        as maps, a list with an item for each sample. Those tasks have a `target_reader` of their own.
        """

    def target_reader(self, samples: Sequence[Sample], names: Names) -> Targets:
        """Function index of a sample -> its target, for training; by default rows of `targets`."""
        return Rows(self.targets(samples, names))

    def example_target(self, size: tuple[int, int], names: Names) -> Any:
        """A target of one sample as `target_reader` gives it, for planning a step without data.

        Args:
            size: (height, width) of the image in pixels.
            names: names of the outputs.
        """
        raise NotImplementedError(f"{self.name} has no example of a target")

    @abstractmethod
    def written(self, sample: Sample, names: Names) -> str:
        """Return the label of a sample as text, for splits.csv."""

    @abstractmethod
    def match(self, source: Source, names: Names) -> Source:
        """Return the source with its labels in the order of the model's names.

        Raises:
            VitrailError: labels for another task, or labels that the model does not have.
        """

    # To the user

    def label_columns(self, names: Names) -> dict[str, type[str] | type[float]]:
        """Columns of the true label in a table of predictions, with their types."""
        return {"label": str}

    def true_cells(self, sample: Sample, names: Names) -> Cells:
        """Cells of a sample's true label for those columns."""
        return (self.written(sample, names),)

    def label_cells(self, source: Source, names: Names) -> list[Cells] | None:
        """Cells of the true label of each sample of a source; None if its labels are not those of this model."""
        try:
            matched = self.match(source, names)
        except VitrailError:
            return None
        return [self.true_cells(sample, names) for sample in matched.samples]

    def joined(self, output: Any) -> Any:
        """One output in place of several that the head has for the same thing; by default unchanged.

        `Predictor.outputs` applies it, so that all other methods take its result.
        """
        return output

    @abstractmethod
    def decode(self, output: Any, names: Names, top_k: int | None = None) -> Sequence[Prediction]:
        """Convert the output for a batch (float32 on the CPU) to a prediction for each image, without its path.

        Args:
            output: the head's output.
            names: names of the outputs.
            top_k: number of classes, the most probable first; None for all. Tasks without classes ignore it.
        """

    def decoded(self, output: Any) -> Any:
        """Tensors of the predictions for a batch: what an exported model returns. By default the output as it is.

        Args:
            output: the head's output, after `joined`.
        """
        return output

    def merged(self, outputs: Sequence[Any]) -> Any:
        """One output for several views of the same images, such as mirrored ones; by default the mean of tensors."""
        return tree_map(lambda *tensors: torch.stack(tensors).mean(dim=0), *outputs)

    def calibrated(self, output: Any, target: Any) -> "Task":
        """Return the task with what makes its predictions agree with the targets of held-out images; by default
        unchanged.

        Args:
            output: the head's outputs for the validation split, float32 on the CPU.
            target: its targets, see `targets`.
        """
        return self

    @abstractmethod
    def failed(self, path: str, error: str) -> Prediction:
        """Return the prediction for an image that could not be read."""

    @abstractmethod
    def columns(self, names: Names, top_k: int) -> dict[str, type[str] | type[float]]:
        """Columns of a table of predictions between `path` and `error`, with their types."""

    @abstractmethod
    def cells(self, prediction: Any, names: Names, top_k: int) -> list[str | float | None]:
        """Cells of a prediction for those columns; None if there is no value."""

    @abstractmethod
    def to_dict(self, prediction: Any) -> dict[str, Any]:
        """Return a prediction as plain JSON values, without path and error."""

    def document(self, names: Names) -> "Document | None":
        """Collector of all predictions for a JSON file in a format of the task; by default None: a list of them."""
        return None

    @abstractmethod
    def metrics(self, names: Names) -> Metrics:
        """Create the metrics, which compare outputs with targets."""

    @abstractmethod
    def mistakes(self, output: Any, target: Any, names: Names, most: int) -> list[Mistake]:
        """At most `most` wrong predictions, the worst first."""

    def drawn(self, image: UInt8[Tensor, "3 H W"], prediction: Any, names: Names) -> dict[str, bytes]:
        """Files with the prediction for an image, for tasks with `whole_image`: end of the name -> content.

        Args:
            image: the image at its own size.
            prediction: the prediction for it.
            names: names of the outputs.
        """
        raise NotImplementedError(f"{self.name} has no pictures")

    def errors(self, output: Any, target: Any) -> Tensor:
        """Size of the error of each image of a batch, (n,): the report shows the images with the largest.

        For tasks that keep no outputs; others find their mistakes in all outputs.
        """
        raise NotImplementedError(f"{self.name} keeps its outputs")

    def panels(self, image: UInt8[Tensor, "3 H W"], target: Any, output: Any, names: Names) -> "list[Panel]":
        """Pictures of a target, and of the output beside it, for the report; by default none.

        Args:
            image: the image that the output is for, at the model's size.
            target: target of one sample, see `targets`.
            output: output for it, without the batch dimension; None: the target alone.
            names: names of the outputs.
        """
        return []

    @abstractmethod
    def label_words(self, target: Any, names: Names) -> str:
        """Return the target of one sample in words, for a caption."""

    @abstractmethod
    def count_words(self, names: Names) -> str:
        """Number of outputs in words: "3 classes"."""

    @abstractmethod
    def describe(self, names: Names) -> str:
        """Description of the output, as the end of a sentence: "one of 3 classes: cat, cow, dog"."""

    @abstractmethod
    def report(self, evaluation: Any) -> list[str]:
        """HTML sections for report.html."""

    @abstractmethod
    def summary(self, evaluation: Any) -> str:
        """Return the evaluation as text for a terminal."""


def same_kind(task: Task, source: Source) -> None:
    """Raise VitrailError if a source is labelled for another task than the model's."""
    if source.task.name != task.name:
        raise VitrailError(
            f"{source.name} is labelled for {source.task.name}, and this checkpoint is for {task.name}: give another "
            f"source, or read this one with --task {task.name}"
        )
