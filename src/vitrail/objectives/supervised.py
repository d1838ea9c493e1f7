"""The classification objective: cross entropy, or another loss of the classes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import Tensor, nn

from ..data.loader import Batch
from ..errors import VitrailError
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel, joined
from ..tasks.classification import Classification
from .class_losses import (
    AsymmetricLoss,
    BinaryCrossEntropy,
    CrossEntropy,
    balanced_weights,
    logit_shift,
    sampling_weights,
)
from .objective import Labels, Loss, Moment, ObjectiveConfig, OutputObjective

if TYPE_CHECKING:
    from ..data.augment import Mix


class Supervised(OutputObjective):
    """Loss of a classifier's logits.

    Args:
        model: pixels -> logits (B, K).
        loss: (logits, targets) -> scalar, see `class_losses`. Targets are distributions over the classes, or
            independent zeros and ones.
        mix: Mixup or CutMix of training batches, or None.
    """

    def __init__(self, model: BaseVisionModel[ModelConfig], loss: nn.Module, *, mix: "Mix | None" = None) -> None:
        super().__init__(model)
        self.loss = loss
        self.mix = mix

    def forward(self, batch: Batch, moment: Moment) -> Loss:
        pixels, targets = self.mixed(batch)
        return self.loss_of(self.model(pixels), targets)

    def loss_of(self, output: Any, target: Tensor) -> Loss:
        return Loss(self.loss(joined(output).float(), target))

    def mixed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Pixels and targets of a batch, in training after Mixup or CutMix."""
        if self.mix and self.training:
            return self.mix(batch.pixels, batch.targets)
        return batch.pixels, batch.targets


@dataclass(frozen=True, kw_only=True)
class SupervisedConfig(ObjectiveConfig):
    """Cross entropy of the classes, or another loss, with options for imbalanced classes."""

    name: ClassVar[str] = "supervised"
    tasks: ClassVar[tuple[str, ...]] = ("classification", "video")
    quality: ClassVar[str] = "task"

    loss: Literal["cross_entropy", "bce", "asymmetric"] | None = None
    """Cross entropy of exclusive classes; binary cross entropy of each class; or that with little weight of easy
    negatives (Ridnik et al., 2021). None: cross_entropy for one label, bce for many."""
    label_smoothing: float = 0.1
    """Fraction of each target that is spread over all classes; without effect on the asymmetric loss."""
    balance: float = 0.0
    """Weights classes by frequency to the power of minus this; with 1, rare classes count as much as common ones."""
    logit_adjustment: float = 0.0
    """Adds this times the logarithm of a class's frequency to its logit in training (Menon et al., 2021); 1 for equally
    good recall of all classes. With cross_entropy only."""
    sampler: Literal["random", "balanced"] = "random"
    """balanced: each class is drawn equally often, so an epoch repeats images of rare classes and leaves out others."""
    gamma_positive: float = 0.0
    """Focus of the asymmetric loss on hard positives."""
    gamma_negative: float = 4.0
    """Focus of the asymmetric loss on hard negatives."""
    margin: float = 0.05
    """Probability below which a negative has no asymmetric loss."""
    mixup: float = 0.0
    """Alpha of Mixup (Zhang et al., 2018)."""
    cutmix: float = 0.0
    """Alpha of CutMix (Yun et al., 2019); with both, each batch draws one of them."""
    mix_rate: float = 1.0
    """Fraction of the batches that Mixup or CutMix is applied to."""

    def __post_init__(self) -> None:
        for name, rate in (("label_smoothing", self.label_smoothing), ("margin", self.margin)):
            if not 0 <= rate < 1:
                raise VitrailError(f"objective.{name} is {rate}: it needs to be in [0, 1)")
        if not 0 <= self.mix_rate <= 1:
            raise VitrailError(f"objective.mix_rate is {self.mix_rate}: it is a fraction, from 0 to 1")
        numbers = {"mixup": self.mixup, "cutmix": self.cutmix, "balance": self.balance}
        numbers |= {"gamma_positive": self.gamma_positive, "gamma_negative": self.gamma_negative}
        numbers |= {"logit_adjustment": self.logit_adjustment}
        for name, value in numbers.items():
            if not 0 <= value <= 1000:  # NaN too
                raise VitrailError(f"objective.{name} is {value}: use 0, which leaves it out, to 1000")

    def build(self, model: BaseVisionModel[ModelConfig], labels: Labels | None) -> Supervised:
        assert labels is not None
        assert isinstance(labels.task, Classification)
        return Supervised(
            model,
            self._loss(labels.targets, one_label=labels.task.labels == "one"),
            mix=self._mix(labels),
        )

    def _mix(self, labels: Labels) -> "Mix | None":
        """Mixup or CutMix of the training batches, or None."""
        from ..data.augment import batch_mix  # imports torchvision, which takes as long as torch

        return batch_mix(self.mixup, self.cutmix, self.mix_rate, len(labels.names))

    def sample_weights(self, labels: Labels) -> Tensor | None:
        return sampling_weights(labels.targets) if self.sampler == "balanced" else None

    def _loss(self, targets: Tensor, *, one_label: bool) -> nn.Module:
        counts = targets.sum(0).int().tolist()
        weights, kind = balanced_weights(counts, self.balance), self.loss or ("cross_entropy" if one_label else "bce")
        if self.logit_adjustment and kind != "cross_entropy":
            raise VitrailError(
                f"objective.logit_adjustment is for cross_entropy, and this run has {kind}: set logit_adjustment=0, or "
                "use balance"
            )
        if kind == "asymmetric":
            return AsymmetricLoss(
                gamma_positive=self.gamma_positive,
                gamma_negative=self.gamma_negative,
                margin=self.margin,
                class_weights=weights,
            )
        if kind == "bce":
            return BinaryCrossEntropy(
                label_smoothing=self.label_smoothing,
                smoothed=1 / len(counts) if one_label else 0.5,
                class_weights=weights,
                any_label=one_label,
            )
        if not one_label:
            raise VitrailError("objective.loss is cross_entropy, and images have several labels: use bce or asymmetric")
        shift = logit_shift(counts, self.logit_adjustment)
        return CrossEntropy(label_smoothing=self.label_smoothing, class_weights=weights, shift=shift)
