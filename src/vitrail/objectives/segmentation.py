"""The objective of segmentation: cross entropy of the pixels, and Dice loss of the classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..checkpoint.document import Stored
from ..data.annotations import IGNORED
from ..data.joint import JointView, MapTarget
from ..data.loader import Views
from ..errors import VitrailError
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel
from ..tasks.maps import resized_logits
from ..tasks.task import Task
from .augmentation import Augmentation
from .dense_head import with_dense_head
from .objective import Labels, Loss, ObjectiveConfig, OutputObjective


class PixelLoss(OutputObjective):
    """Cross entropy and Dice loss of logits, which are interpolated to the size of the target.

    Args:
        model: pixels -> logits (B, K, h, w).
        dice: weight of the Dice loss.
        label_smoothing: label smoothing of the cross entropy.
    """

    def __init__(self, model: BaseVisionModel[ModelConfig], *, dice: float, label_smoothing: float) -> None:
        super().__init__(model)
        self.dice = dice
        self.label_smoothing = label_smoothing

    def loss_of(self, output: Float[Tensor, "B K h w"], target: Int[Tensor, "B H W"]) -> Loss:
        logits = resized_logits(output.float(), target.shape[1:])
        entropy = pixel_cross_entropy(logits, target, self.label_smoothing)
        if not self.dice:
            return Loss(entropy)
        overlap = dice_loss(logits, target)
        return Loss(entropy + self.dice * overlap, {"cross_entropy": entropy.detach(), "dice": overlap.detach()})


def pixel_cross_entropy(
    logits: Float[Tensor, "B K H W"], target: Int[Tensor, "B H W"], label_smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Mean cross entropy of the pixels that are not `IGNORED`; 0 if all are."""
    labelled = (target != IGNORED).sum()
    total = F.cross_entropy(logits, target, ignore_index=IGNORED, label_smoothing=label_smoothing, reduction="sum")
    return total / labelled.clamp(min=1)


def dice_loss(logits: Float[Tensor, "B K H W"], target: Int[Tensor, "B H W"]) -> Float[Tensor, ""]:
    """1 − mean over the batch's classes of 2 Σ p t / (Σ p + Σ t), with probabilities p and true classes t.

    Milletari et al. (2016), "V-Net", section 3, for several classes, over all pixels of the batch that are not
    `IGNORED`. Classes that no pixel has are left out; without any the loss is 0.
    """
    labelled = (target != IGNORED).unsqueeze(1)
    true = F.one_hot(target.clamp(min=0), logits.shape[1]).movedim(-1, 1) * labelled
    probabilities = logits.softmax(dim=1) * labelled
    both, sizes = ((part).sum(dim=(0, 2, 3)) for part in (probabilities * true, probabilities + true))
    occurs = true.any(dim=0).flatten(1).any(dim=1)
    scores = 2 * both / sizes.clamp(min=torch.finfo(sizes.dtype).tiny)
    return ((1 - scores) * occurs).sum() / occurs.sum().clamp(min=1)


def packed(target: Any) -> Any:
    """The map of a `MapTarget`, with classes as int64; other targets unchanged."""
    if not isinstance(target, MapTarget):
        return target
    return target.values if target.values.is_floating_point() else target.values.long()


@dataclass(frozen=True, slots=True)
class MapView:
    """Views of a sample with one map: (image, MapTarget) -> (image, map at the size of the image)."""

    joint: JointView

    def __call__(self, image: Tensor, target: MapTarget) -> tuple[Any, Tensor]:
        image, found = self.joint(image, target)
        return image, packed(found)


@dataclass(frozen=True, kw_only=True)
class SegmentationConfig(ObjectiveConfig):
    """Cross entropy of the pixels, and Dice loss of the classes; ignored pixels count nowhere."""

    name: ClassVar[str] = "segmentation"
    tasks: ClassVar[tuple[str, ...]] = ("segmentation",)
    quality: ClassVar[str] = "task"

    dice: float = 1.0
    """Weight of the Dice loss, which counts rare classes as much as common ones; 0 leaves it out."""
    label_smoothing: float = 0.0
    """Label smoothing of the cross entropy."""

    def __post_init__(self) -> None:
        if not 0 <= self.dice < 1e6:
            raise VitrailError(f"objective.dice is {self.dice}: it needs to be 0 or more")
        if not 0 <= self.label_smoothing < 1:
            raise VitrailError(f"objective.label_smoothing is {self.label_smoothing}: use 0 to below 1")

    def starting_weights(
        self, stored: Stored, task: Task | None, names: Sequence[str], changes: Mapping[str, Any]
    ) -> Stored:
        """The weights with a fresh head, if they are of a ViT without one for pixels."""
        assert task is not None
        return with_dense_head(stored, task, len(names), changes)

    def build(self, model: BaseVisionModel[ModelConfig], labels: Labels | None) -> PixelLoss:
        return PixelLoss(model, dice=self.dice, label_smoothing=self.label_smoothing)

    def plans(self, config: ModelConfig) -> bool:
        return True

    def views(self, augmentation: Augmentation) -> Views:
        return MapView(augmentation.joint())

    def default_model(self, side: int) -> tuple[str, dict[str, Any], int] | None:
        return "compact_segmenter_small_128", {}, dense_size(side)


def dense_size(side: int) -> int:
    """Image size for a dense task on images of this shorter side: up to 128 pixels, a multiple of 16."""
    return min(128, max(32, 16 * round(side / 16)))
