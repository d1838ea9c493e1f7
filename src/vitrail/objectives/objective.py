"""Base classes of an objective: a root module around the model, and its frozen config in the recipe."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ..checkpoint.document import Stored
from ..data.augment_options import Augment
from ..data.loader import Batch, OneView, Views
from ..data.preprocess import Preprocess
from ..data.samples import Sample
from ..errors import VitrailError
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel
from ..tasks.task import Task
from .augmentation import Augmentation

ONE_COLOUR = "predicting the same colour everywhere"
"""Trivial prediction of 0 for normalised pixels, which is their mean colour."""


class Moment(NamedTuple):
    """A moment of a run: optimiser steps done, and the fraction of the schedule that they are, from 0 to 1."""

    step: int
    fraction: float = 0.0


@dataclass(frozen=True, slots=True)
class Loss:
    """Loss of a batch: `total`, a scalar tensor with a gradient, and its named `parts`, scalar tensors for the log."""

    total: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trivial:
    """A prediction that needs no training, which a trained model has to be better than.

    Attributes:
        answer: the prediction, as the end of a sentence: "predicting the mean of each patch".
        loss: its loss, a scalar tensor.
    """

    answer: str
    loss: Tensor


@dataclass(frozen=True)
class Labels:
    """Training labels, and facts about the images, for building an objective.

    Attributes:
        task: the task of the labels.
        names: names of the outputs.
        samples: the training samples.
        preprocess: the model's preprocessing.
        images: digest of what determines the augmented images: files, seed, augmentation, size; None if a function of
            the user's augments them.
    """

    task: Task
    names: tuple[str, ...]
    samples: Sequence[Sample]
    preprocess: Preprocess
    images: str | None = None

    @cached_property
    def targets(self) -> Any:
        """Targets of all training samples, as `Task.targets` returns them."""
        with torch.device("cpu"):  # also while a plan builds the objective on the meta device
            return self.task.targets(self.samples, self.names)


class Objective(nn.Module, ABC):
    """Base class of a training objective, the root module around the model.

    Its own parameters are trained with the model's, and its buffers are part of the run's state.

    Args:
        model: the model to train.
    """

    def __init__(self, model: BaseVisionModel[ModelConfig]) -> None:
        super().__init__()
        self.model = model

    @abstractmethod
    def forward(self, batch: Batch, moment: Moment) -> Loss:
        """Compute the loss of a batch on the model's device. Random numbers come from torch's generator, which is
        seeded before each step, so that a run can be resumed."""

    def trivial(self, batch: Batch) -> Trivial | None:
        """The best known prediction for a batch that needs no training; by default None."""
        return None

    def prepare(self, batches: Iterator[Tensor]) -> None:
        """Fit tensors that are not trained by gradients, such as a codebook, to training images before the first step.

        It is called once in a run, before its initial state is saved; by default it does nothing.

        Args:
            batches: pixels (B, C, H, W) of training images as in evaluation, on the model's device, without end.
        """
        return

    def after_step(self, moment: Moment) -> None:
        """Update tensors that are not trained by gradients, such as a teacher's weights; by default does nothing."""
        return

    def trained(self) -> BaseVisionModel[ModelConfig]:
        """The model that is evaluated and saved; by default the one that learns."""
        return self.model

    def report(self, batch: Batch, preprocess: Preprocess) -> list[str]:
        """HTML sections for report.html from a batch of validation images; none by default."""
        return []

    def own_state(self) -> dict[str, Tensor]:
        """Tensors of the run's state that are not the model's: a teacher's weights, centres, learned temperatures."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("model.")}


class OutputObjective(Objective):
    """Objective whose loss depends on the model's output and the targets alone; it can be one of several of a model."""

    @abstractmethod
    def loss_of(self, output: Any, target: Any) -> Loss:
        """Loss of the output for a batch.

        Args:
            output: the model's output.
            target: targets of the batch.
        """

    def loss_of_head(self, head: nn.Module, tokens: Any, target: Any) -> Loss:
        """Loss of a head of the model for a batch, also of what is inside it; by default `loss_of` its output.

        Args:
            head: tokens -> the model's output.
            tokens: features of the images.
            target: targets of the batch.
        """
        return self.loss_of(head(tokens), target)

    def forward(self, batch: Batch, moment: Moment) -> Loss:
        return self.loss_of(self.model(batch.pixels), batch.targets)


def require_fraction(name: str, value: float) -> None:
    """Raise VitrailError unless an option of an objective is more than 0 and below 1."""
    if not 0 < value < 1:
        raise VitrailError(f"objective.{name} is {value}: it is a fraction, more than 0 and below 1")


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(ABC):
    """Options of an objective, as in a recipe: `objective: {name: supervised, label_smoothing: 0.1}`."""

    name: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]] = ()
    """Tasks whose labels it needs; empty for an objective without labels."""
    quality: ClassVar[str] = "loss"
    """How the best checkpoint is chosen: by "task" (the task's metrics), by "loss" (on validation images), or "last"
    (the last one) if the loss does not measure quality."""

    clips: ClassVar[bool] = False
    """For an objective without labels: whether it learns from clips, not images."""

    any_size: ClassVar[bool] = True
    """Whether it can train on images that are smaller than the model's, as `start_size` of a recipe makes them."""

    def plans(self, config: ModelConfig) -> bool:
        """Whether a plan of a model has the objective's own parts; without them a step costs what the model's does.

        By default it has those of objectives without labels. Those with labels need `Task.example_target`, and a loss
        whose operations do not depend on values.
        """
        return not self.tasks

    @abstractmethod
    def build(self, model: BaseVisionModel[ModelConfig], labels: Labels | None) -> Objective:
        """The objective around a model.

        Args:
            model: on its device.
            labels: labels of the training samples; None if the source has none.
        """

    def sample_weights(self, labels: Labels) -> Tensor | None:
        """Expected number of times that an epoch has each training sample, (n,) with mean 1; None: once each."""
        return None

    def augmented_epochs(self) -> int | None:
        """Number of epochs after which the augmented images repeat; None: never."""
        return None

    def views(self, augmentation: Augmentation) -> Views:
        """Views of a sample; by default one: the augmented image with its target."""
        return OneView(augmentation.transform())

    def task_of(self, task: Task) -> Task:
        """The task of the outputs that this objective trains, from that of the labels; by default the same."""
        return task

    def model_config(self, config: ModelConfig) -> ModelConfig:
        """Config of the model to train, from the config of the recipe's variant; by default the same.

        Raises:
            VitrailError: the objective cannot train such a model.
        """
        return config

    def starting_weights(
        self, stored: Stored, task: Task | None, names: Sequence[str], changes: Mapping[str, Any]
    ) -> Stored:
        """The weights that a run starts from, for those that are given; by default the same.

        Args:
            stored: the weights.
            task: task of the labels.
            names: names of the outputs.
            changes: fields of the model's config that the recipe sets.
        """
        return stored

    def default_augment(self, side: int) -> Augment | None:
        """Augmentation for a recipe without one, for a model's images of this shorter side; None: crops and flips."""
        return None

    def default_model(self, side: int) -> tuple[str, dict[str, Any], int] | None:
        """Variant, overrides and image size for a recipe without a model, for images of this shorter side in pixels.

        None: the default for classifiers is used.
        """
        return None
