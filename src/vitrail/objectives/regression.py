"""The regression objective: squared error or Huber's loss."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch.nn.functional as F

from ..data.loader import Batch
from ..errors import VitrailError
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel
from .objective import Labels, Loss, Moment, Objective, ObjectiveConfig


class NumberLoss(Objective):
    """Mean squared error or Huber's loss, in units of the training labels' standard deviation.

    Args:
        model: pixels -> numbers (B, K).
        delta: larger errors count linearly (Huber, 1964), which limits the effect of wrong labels; None: squared error.
    """

    def __init__(self, model: BaseVisionModel[ModelConfig], *, delta: float | None) -> None:
        super().__init__(model)
        self.delta = delta

    def forward(self, batch: Batch, moment: Moment) -> Loss:
        numbers = self.model(batch.pixels).float()
        if self.delta is None:
            return Loss(F.mse_loss(numbers, batch.targets))
        return Loss(F.huber_loss(numbers, batch.targets, delta=self.delta))


@dataclass(frozen=True, kw_only=True)
class RegressionConfig(ObjectiveConfig):
    """Squared error or Huber's loss, in units of the training labels' standard deviation."""

    name: ClassVar[str] = "regression"
    tasks: ClassVar[tuple[str, ...]] = ("regression",)
    quality: ClassVar[str] = "task"

    loss: Literal["mse", "huber"] = "mse"
    """Squared error, or Huber's loss."""
    delta: float = 1.0
    """Error above which Huber's loss is linear, in standard deviations."""

    def __post_init__(self) -> None:
        if not 0 < self.delta < math.inf:
            raise VitrailError(f"objective.delta is {self.delta}: it needs to be a number of more than 0")

    def build(self, model: BaseVisionModel[ModelConfig], labels: Labels | None) -> NumberLoss:
        return NumberLoss(model, delta=self.delta if self.loss == "huber" else None)
