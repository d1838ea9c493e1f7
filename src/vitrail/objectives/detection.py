"""The objective of detection: DETR's set loss, or the loss of a dense detector, by the model's output."""

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from ..checkpoint.build import blueprint
from ..data.joint import BoxTargets
from ..data.loader import Batch, Views
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel, DenseDetections, DetectionHead, Detections, Tokens
from .dense_detection_loss import dense_detection_loss
from .objective import Augmentation, Labels, Loss, Moment, ObjectiveConfig, OutputObjective
from .segmentation import dense_size
from .set_loss import SetLosses, set_loss

OVERLAP_WEIGHT = 2.0
"""Weight of the overlap of a dense detector's boxes, beside that of the classes (Feng et al., 2021, "TOOD", released
code)."""


class BoxLoss(OutputObjective):
    """Loss of a detector.

    A DETR has the set loss after every block of its decoder (Carion et al., 2020, section 3.2).

    Args:
        model: pixels -> Detections or DenseDetections.
    """

    def forward(self, batch: Batch, moment: Moment) -> Loss:
        head = getattr(self.model, "head", None)
        if not isinstance(head, DetectionHead):
            return self.loss_of(self.model(batch.pixels), batch.targets)
        tokens = self.model.forward_features(batch.pixels)
        assert isinstance(tokens, Tokens)
        boxes, labels = objects(batch.targets)
        return _sum_of([_set_loss(block, boxes, labels) for block in head.forward_blocks(tokens)])

    def loss_of(self, output: Detections | DenseDetections, target: BoxTargets) -> Loss:
        boxes, labels = objects(target)
        if isinstance(output, Detections):
            return _sum_of([_set_loss(output, boxes, labels)])
        full = DenseDetections(output.logits.float(), output.boxes.float(), output.points.float())
        found = dense_detection_loss(full, boxes, labels)
        parts = {"classes": found.classes.detach(), "overlap": found.overlap.detach()}
        return Loss(found.classes + OVERLAP_WEIGHT * found.overlap, parts)


def _sum_of(losses: list[SetLosses]) -> Loss:
    """Sum of the losses after each block; the parts are those of the last."""
    last = losses[-1]
    parts = {"classes": last.classes, "edges": last.edges, "overlap": last.overlap}
    total = sum((loss.total for loss in losses[:-1]), last.total)
    return Loss(total, {name: part.detach() for name, part in parts.items()})


def objects(target: BoxTargets) -> tuple[Float[Tensor, "B M 4"], Int[Tensor, "B M"]]:
    """Boxes and classes of the objects to learn, without crowds."""
    return target.boxes, target.labels.masked_fill(target.crowd, -1)


def _set_loss(output: Detections, boxes: Float[Tensor, "B M 4"], labels: Int[Tensor, "B M"]) -> SetLosses:
    return set_loss(Detections(output.logits.float(), output.boxes.float()), boxes, labels)


@dataclass(frozen=True, kw_only=True)
class DetectionConfig(ObjectiveConfig):
    """DETR's set loss, or task-aligned assignment for a dense detector; the model's output decides."""

    name: ClassVar[str] = "detection"
    tasks: ClassVar[tuple[str, ...]] = ("detection",)
    quality: ClassVar[str] = "task"

    def build(self, model: BaseVisionModel[ModelConfig], labels: Labels | None) -> BoxLoss:
        return BoxLoss(model)

    def plans(self, config: ModelConfig) -> bool:
        """All but those of a DETR, whose matching needs values."""
        return not any(isinstance(module, DetectionHead) for module in blueprint(config).modules())

    def views(self, augmentation: Augmentation) -> Views:
        return augmentation.joint()

    def default_model(self, side: int) -> tuple[str, dict[str, Any], int] | None:
        return (
            ("compact_detector_small_128", {}, dense_size(side))
            if side < 200
            else ("compact_detector_small_256", {}, 256)
        )
