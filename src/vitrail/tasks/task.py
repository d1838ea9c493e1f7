"""Base classes of a task: labels -> targets, outputs -> predictions, metrics and text."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils._pytree import tree_map

from ..data.coco_ids import CocoIds
from ..data.samples import Sample, Source
from ..data.survey import Survey
from ..data.targets import Rows, Targets
from ..errors import VitrailError
from ..models.fields import ModelConfig
from ..task_spec import TaskSpec
from .object_prediction import QueriedObject
from .outcomes import Cells, Curve, Document, Metrics, Mistake, Names, Panel, Prediction


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
    loss_words: ClassVar[str] = ""
    """What the validation loss is, if another quantity than the training loss, such as "1 - AP"."""
    decoded_name: ClassVar[str] = "output"
    """Name of the tensor that `decoded` returns."""
    by_vectors: ClassVar[bool] = False
    """Whether it interprets the embeddings of images, `embed_images`, in place of the output of `forward`."""
    predict_flags: ClassVar[str] = ""
    """Options that `vitrail predict` needs for its checkpoints, as an example for the user."""

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

    def example_target(self, config: ModelConfig, names: Names) -> Any:
        """A target of one sample as `target_reader` gives it, for planning a step without data; None if not known.

        Args:
            config: the model's.
            names: names of the outputs.
        """
        return None

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

    def answers(self, output: Any, names: Names) -> list[Any]:
        """What a user reads first of each prediction, by which two ways to run a model are compared.

        By default the words of its row in a table, or its numbers to two digits.
        """
        rows = [self.cells(each, names, 1) for each in self.decode(output, names, 1)]
        if any(isinstance(cell, str) for row in rows for cell in row):
            return [[cell for cell in row if isinstance(cell, str)] for row in rows]
        return [[float(f"{cell:.2g}") for cell in row if isinstance(cell, float)] for row in rows]

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

    def queried(self, output: Any, names: Names) -> Sequence[QueriedObject]:
        """What each learned query of a decoder found in the first image, in the order of the queries; by default none.

        Args:
            output: the head's output.
            names: names of the outputs.
        """
        return ()

    def shown_from(self, threshold: float, names: Names) -> "Task":
        """The task whose predictions have what is at least this probable, in place of its own thresholds.

        Raises:
            VitrailError: predictions without a threshold, which is the default, or a number outside 0 to 1.
        """
        raise VitrailError(f"predictions of {self.name} have no threshold: leave --threshold out")

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

    def document(self, names: Names, ids: CocoIds | None = None) -> "Document | None":
        """Collector of all predictions for a JSON file in a format of the task; by default None: a list of them.

        Args:
            names: names of the outputs.
            ids: those of the data set that the images are from, if it has some.
        """
        return None

    @abstractmethod
    def metrics(self, names: Names) -> Metrics:
        """Create the metrics, which compare outputs with targets."""

    @abstractmethod
    def mistakes(self, output: Any, target: Any, names: Names, most: int) -> list[Mistake]:
        """At most `most` wrong predictions, the worst first."""

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
