"""The classification objective: cross entropy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.augment import Mix, batch_mix
from ..data.loader import Batch
from ..errors import VitrailError
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel, joined
from ..tasks.classification import Classification
from .objective import Labels, Loss, Moment, Objective, ObjectiveConfig


class Supervised(Objective):
    """Cross entropy for one class per image, binary cross entropy of each class for several.

    Args:
        model: pixels -> logits (B, K).
        one_label: targets are distributions over the classes; otherwise independent zeros and ones.
        label_smoothing: fraction of each target that is spread over all classes (Szegedy et al., 2016, section 7).
        class_weights: (K,) factor of each class's loss, for imbalanced classes; see `balanced_weights`.
        mix: Mixup or CutMix of training batches, or None.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        model: BaseVisionModel[ModelConfig],
        *,
        one_label: bool,
        label_smoothing: float = 0.0,
        class_weights: Tensor | None = None,
        mix: Mix | None = None,
    ) -> None:
        super().__init__(model)
        self.one_label = one_label
        self.label_smoothing = label_smoothing
        self.mix = mix
        # Not in the state: a resumed run computes it again from the data.
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, batch: Batch, moment: Moment) -> Loss:
        pixels, targets = batch.pixels, batch.targets
        if self.mix and self.training:
            pixels, targets = self.mix(pixels, targets)
        logits, weights = joined(self.model(pixels)).float(), self.class_weights
        if self.one_label:
            return Loss(F.cross_entropy(logits, targets, weight=weights, label_smoothing=self.label_smoothing))
        smooth = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        return Loss(F.binary_cross_entropy_with_logits(logits, smooth, weight=weights))


@dataclass(frozen=True, kw_only=True)
class SupervisedConfig(ObjectiveConfig):
    """Cross entropy of the classes."""

    name: ClassVar[str] = "supervised"
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    quality: ClassVar[str] = "task"

    label_smoothing: float = 0.1
    """Fraction of each target that is spread over all classes."""
    balance: float = 0.0
    """Weights classes by frequency to the power of minus this; with 1, rare classes count as much as common ones."""
    mixup: float = 0.0
    """Alpha of Mixup (Zhang et al., 2018)."""
    cutmix: float = 0.0
    """Alpha of CutMix (Yun et al., 2019); with both, each batch draws one of them."""
    mix_rate: float = 1.0
    """Fraction of the batches that Mixup or CutMix is applied to."""

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise VitrailError(f"objective.label_smoothing is {self.label_smoothing}: it needs to be in [0, 1)")
        if not 0 <= self.mix_rate <= 1:
            raise VitrailError(f"objective.mix_rate is {self.mix_rate}: it is a fraction, from 0 to 1")
        for name, value in (("mixup", self.mixup), ("cutmix", self.cutmix), ("balance", self.balance)):
            if not 0 <= value <= 1000:  # NaN too
                raise VitrailError(f"objective.{name} is {value}: use 0, which leaves it out, to 1000")

    def build(self, model: BaseVisionModel[ModelConfig], labels: Labels | None) -> Supervised:
        assert labels is not None
        assert isinstance(labels.task, Classification)
        return Supervised(
            model,
            one_label=labels.task.labels == "one",
            label_smoothing=self.label_smoothing,
            class_weights=balanced_weights(labels.targets.sum(0).int().tolist(), self.balance),
            mix=batch_mix(self.mixup, self.cutmix, self.mix_rate, len(labels.names)),
        )


def balanced_weights(counts: Sequence[int], power: float) -> Tensor | None:
    """Class weights (K,): frequency to the power of -`power`, with mean 1 over the samples; None for power 0.

    With power 1 all classes count the same.
    """
    if power == 0:
        return None
    sizes = torch.tensor(counts, dtype=torch.float64).clamp(min=1)
    weights = sizes**-power
    return (weights * sizes.sum() / (weights * sizes).sum()).float()
