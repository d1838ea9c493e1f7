"""The regression objective: squared error, Huber's loss, or the pinball loss of a quantile."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor

from ..data.loader import Batch
from ..errors import VitrailError
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel
from ..tasks.pinball import pinball
from ..tasks.regression import Regression
from ..tasks.task import Task
from .objective import Labels, Loss, Moment, Objective, ObjectiveConfig, require_fraction

ErrorLoss = Callable[[Tensor, Tensor], Tensor]
"""(numbers, targets) -> mean loss."""


class NumberLoss(Objective):
    """A loss of predicted numbers, in units of the training labels' standard deviation.

    Args:
        model: pixels -> numbers (B, K).
        loss: (numbers, targets) -> mean loss.
    """

    def __init__(self, model: BaseVisionModel[ModelConfig], *, loss: ErrorLoss = F.mse_loss) -> None:
        super().__init__(model)
        self.loss = loss

    def forward(self, batch: Batch, moment: Moment) -> Loss:
        return Loss(self.loss(self.model(batch.pixels).float(), batch.targets))


def pinball_loss(numbers: Tensor, targets: Tensor, *, quantile: float) -> Tensor:
    """Mean pinball loss."""
    return pinball(targets - numbers, quantile).mean()


@dataclass(frozen=True, kw_only=True)
class RegressionConfig(ObjectiveConfig):
    """Squared error, Huber's loss or a quantile's loss, in units of the training labels' standard deviation."""

    name: ClassVar[str] = "regression"
    tasks: ClassVar[tuple[str, ...]] = ("regression",)
    quality: ClassVar[str] = "task"

    loss: Literal["mse", "huber", "quantile"] = "mse"
    """Squared error, Huber's loss, or the pinball loss, with which the model learns a quantile of the numbers."""
    delta: float = 1.0
    """Error above which Huber's loss is linear, in standard deviations, which limits the effect of wrong labels."""
    quantile: float = 0.5
    """Quantile that is learned with loss quantile: 0.9 is exceeded by a tenth of the numbers, 0.5 is the median."""

    def __post_init__(self) -> None:
        if not 0 < self.delta < math.inf:
            raise VitrailError(f"objective.delta is {self.delta}: it needs to be a number of more than 0")
        require_fraction("quantile", self.quantile)

    @property
    def error_loss(self) -> ErrorLoss:
        """The loss, as a function of predicted and true numbers."""
        if self.loss == "mse":
            return F.mse_loss
        if self.loss == "huber":
            return partial(F.huber_loss, delta=self.delta)
        return partial(pinball_loss, quantile=self.quantile)

    def task_of(self, task: Task) -> Task:
        """The task, whose outputs are those of a quantile with that loss.

        Raises:
            VitrailError: a quantile with another loss.
        """
        assert isinstance(task, Regression)
        if self.quantile != 0.5 and self.loss != "quantile":
            raise VitrailError(
                f"objective.quantile is {self.quantile} and objective.loss {self.loss}, which learns no quantile: add "
                "--set objective.loss=quantile, or leave quantile out"
            )
        return replace(task, quantile=self.quantile if self.loss == "quantile" else None)

    def build(self, model: BaseVisionModel[ModelConfig], labels: Labels | None) -> NumberLoss:
        return NumberLoss(model, loss=self.error_loss)
