"""The protocol of an objective: a root module around the model, built from a frozen config in the recipe."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from ..data.loader import Batch, OneView, Views
from ..data.preprocess import Preprocess
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel
from ..tasks.task import Task

Transform = Callable[[Tensor], Tensor]
"""Image (C, H, W) -> image of the size that the model takes, randomly changed."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What is minimised: `total`, a scalar tensor with a gradient, and its named `parts` for the log, scalars too."""

    total: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Labels:
    """What an objective may know of the training labels.

    Attributes:
        task: what they mean.
        names: of the outputs.
        targets: of all training samples, as `Task.targets` gives them.
    """

    task: Task
    names: tuple[str, ...]
    targets: Tensor


class Objective(nn.Module, ABC):
    """What is minimised. Its parameters beside the model's learn too, and its buffers belong to the run's state.

    Args:
        model: what learns.
    """

    def __init__(self, model: BaseVisionModel[ModelConfig]) -> None:
        super().__init__()
        self.model = model

    @abstractmethod
    def forward(self, batch: Batch, step: int) -> Loss:
        """The loss of a batch on the model's device. `step` counts from 0. Random numbers come from torch's generator,
        which is seeded before each step, so that a run can be resumed."""

    def after_step(self, step: int) -> None:
        """Update what is not learned by gradients, such as a teacher's moving average; nothing by default."""
        return

    def trained(self) -> BaseVisionModel[ModelConfig]:
        """The model that is evaluated and saved; by default the one that learns."""
        return self.model

    def report(self, batch: Batch, preprocess: Preprocess) -> list[str]:
        """Sections of report.html, as HTML, from a batch of validation images; none by default."""
        return []

    def own_state(self) -> dict[str, Tensor]:
        """The tensors of the run's state beside the model's: a teacher's weights, centres, learned temperatures."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("model.")}


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(ABC):
    """The options of an objective, as they stand in a recipe: `objective: {name: supervised, label_smoothing: 0.1}`."""

    name: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]] = ()
    """The tasks whose labels it learns from; empty for an objective that needs no labels."""
    quality: ClassVar[str] = "loss"
    """What checkpoints are compared by: "task" (the task's metrics), "loss" (on validation images), or "last" where the
    loss is no measure of quality: then the last state is kept."""

    @abstractmethod
    def build(self, model: BaseVisionModel[ModelConfig], labels: Labels | None) -> Objective:
        """The objective around a model.

        Args:
            model: on its device.
            labels: of the training samples; None where the source has none.
        """

    def views(self, transform: Transform) -> Views:
        """What becomes of a sample; by default one view: the augmented image, with its target as it is."""
        return OneView(transform)

    def model_config(self, config: ModelConfig) -> ModelConfig:
        """The config of the model that learns, from that of the variant which the recipe names; by default the same.

        Raises:
            VitrailError: the objective cannot train such a model.
        """
        return config

    def default_model(self, side: int) -> tuple[str, dict[str, Any], int] | None:
        """Variant, overrides and image size where the recipe names none, for images of a shorter side.

        None where any classifier will do, and the rule for those decides.
        """
        return None
