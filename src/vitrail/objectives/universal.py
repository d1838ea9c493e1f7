"""The objective of several tasks: the weighted sum of their losses (Caruana, 1997, "Multitask learning")."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..data.joint import JointView
from ..data.loader import Batch, Views
from ..errors import VitrailError
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel, SequentialModel, TaskHeads
from ..tasks.universal import Universal
from ..tasks.universal_labels import samples_of
from .augmentation import Augmentation
from .detection import DetectionConfig
from .objective import Labels, Loss, Moment, Objective, ObjectiveConfig, OutputObjective
from .segmentation import dense_size, packed


class WeightedSum(Objective):
    """Weighted sum of the losses of several tasks.

    Args:
        model: pixels -> TaskOutputs, whose head is `TaskHeads`.
        objectives: objective of each task, around the same model.
        weights: weight of each.

    Raises:
        VitrailError: a model without `TaskHeads`.
    """

    def __init__(
        self,
        model: BaseVisionModel[ModelConfig],
        objectives: Mapping[str, OutputObjective],
        weights: Mapping[str, float],
    ) -> None:
        super().__init__(model)
        # Not as submodules: each has the same model, which is saved once.
        self.losses = dict(objectives)
        self.weights = dict(weights)
        if not isinstance(self._heads, TaskHeads):
            raise VitrailError("objective universal needs a model with a head for each task, such as universal_vit_*")

    @property
    def _heads(self) -> nn.Module | None:
        return self.model.head if isinstance(self.model, SequentialModel) else None

    def forward(self, batch: Batch, moment: Moment) -> Loss:
        heads, tokens = self._heads, self.model.forward_features(batch.pixels)
        assert isinstance(heads, TaskHeads)
        found = {
            name: objective.loss_of_head(heads[name], tokens, batch.targets[name])
            for name, objective in self.losses.items()
        }
        total = torch.stack([self.weights[name] * loss.total for name, loss in found.items()]).sum()
        return Loss(total, {name: loss.total.detach() for name, loss in found.items()})


@dataclass(frozen=True, slots=True)
class PackedView:
    """Views of a sample with targets of several tasks: all follow the image."""

    joint: JointView

    def __call__(self, image: Tensor, target: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        image, found = self.joint(image, target)
        return image, {name: packed(one) for name, one in found.items()}


@dataclass(frozen=True, kw_only=True)
class UniversalObjectiveConfig(ObjectiveConfig):
    """Weighted sum of the losses of several tasks, each with its own objective's defaults."""

    name: ClassVar[str] = "universal"
    tasks: ClassVar[tuple[str, ...]] = ("universal",)
    quality: ClassVar[str] = "task"

    classification: float = 1.0
    """Weight of the cross entropy of the image's class."""
    detection: float = 1.0
    """Weight of the loss of the boxes."""
    segmentation: float = 8.0
    """Weight of the loss of the pixels' classes. With equal weights, its gradient and that of depth are small."""
    depth: float = 96.0
    """Weight of the error of the depth's logarithm."""

    def __post_init__(self) -> None:
        for name in ("classification", "detection", "segmentation", "depth"):
            if not 0 <= getattr(self, name) < 1e6:
                raise VitrailError(f"objective.{name} is {getattr(self, name)}: a weight is 0 or more")

    def build(self, model: BaseVisionModel[ModelConfig], labels: Labels | None) -> WeightedSum:
        from .registry import objective_config

        if labels is None or not isinstance(labels.task, Universal):
            raise VitrailError("objective universal needs labels of several tasks: give a source that has them")
        task = labels.task
        built: dict[str, OutputObjective] = {}
        for name, part in task.parts.items():
            own = Labels(part, task.names_of(name, labels.names), samples_of(name, labels.samples), labels.preprocess)
            objective = objective_config(part.objective)().build(model, own)
            assert isinstance(objective, OutputObjective), part.objective
            built[name] = objective
        return WeightedSum(model, built, {name: getattr(self, name) for name in built})

    def plans(self, config: ModelConfig) -> bool:
        return DetectionConfig().plans(config)

    def views(self, augmentation: Augmentation) -> Views:
        return PackedView(augmentation.joint())

    def default_model(self, side: int) -> tuple[str, dict[str, Any], int] | None:
        return "compact_universal_small_128", {}, dense_size(side)
