"""The objective of detection: DETR's set loss, or the loss of a dense detector, by the model's output."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..checkpoint.build import blueprint
from ..data.joint import BoxTargets
from ..data.loader import Batch, Views
from ..errors import VitrailError
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel, DenseDetections, DetectionHead, Detections, SequentialModel
from .augmentation import Augmentation
from .dense_detection_loss import dense_detection_loss
from .objective import Labels, Loss, Moment, ObjectiveConfig, OutputObjective
from .segmentation import dense_size
from .set_loss import SetLosses, set_loss

OVERLAP_WEIGHT = 2.0
"""Weight of the overlap of a dense detector's boxes, beside that of the classes (Feng et al., 2021, "TOOD", released
code)."""


class BoxLoss(OutputObjective):
    """Loss of a detector.

    A DETR has the set loss after every block of its decoder (Carion et al., 2020, section 3.2). Further groups of
    queries, which are left out after training, learn to find the objects too, and speed up the decoder's training
    (Chen et al., 2023, "Group DETR"); the loss is the mean over the groups.

    Args:
        model: pixels -> Detections or DenseDetections.
        groups: number of groups of a DETR's queries, the model's own included.

    Raises:
        VitrailError: groups below 1, or several of a model without queries.
    """

    def __init__(self, model: BaseVisionModel[ModelConfig], groups: int = 1) -> None:
        super().__init__(model)
        self.others: nn.Parameter | None = None
        if groups < 1:
            raise VitrailError(f"objective.groups is {groups}: use 1 or more")
        if groups > 1:
            head = model.head if isinstance(model, SequentialModel) else None
            if not isinstance(head, DetectionHead):
                raise VitrailError(f"objective.groups is {groups}, and this model has no queries: leave it out")
            own = head.decoder.places
            self.others = nn.Parameter(torch.randn(groups - 1, *own.shape, device=own.device))

    def forward(self, batch: Batch, moment: Moment) -> Loss:
        if not isinstance(self.model, SequentialModel):
            return super().forward(batch, moment)
        return self.loss_of_head(self.model.head, self.model.forward_features(batch.pixels), batch.targets)

    def loss_of_head(self, head: nn.Module, tokens: Any, target: BoxTargets) -> Loss:
        if not isinstance(head, DetectionHead):
            return super().loss_of_head(head, tokens, target)
        boxes, labels = objects(target)
        groups = 1 if self.others is None else 1 + len(self.others)
        blocks = [_groups(block, groups) for block in head.forward_blocks(tokens, self.others)]
        return _sum_of([_mean_of([_set_loss(group, boxes, labels) for group in block]) for block in blocks])

    def loss_of(self, output: Detections | DenseDetections, target: BoxTargets) -> Loss:
        boxes, labels = objects(target)
        if isinstance(output, Detections):
            return _sum_of([_set_loss(output, boxes, labels)])
        full = DenseDetections(output.logits.float(), output.boxes.float(), output.points.float())
        found = dense_detection_loss(full, boxes, labels)
        parts = {"classes": found.classes.detach(), "overlap": found.overlap.detach()}
        return Loss(found.classes + OVERLAP_WEIGHT * found.overlap, parts)


def _groups(output: Detections, groups: int) -> list[Detections]:
    """The detections of each group of queries."""
    parts = zip(output.logits.chunk(groups, dim=1), output.boxes.chunk(groups, dim=1), strict=True)
    return [Detections(logits, boxes) for logits, boxes in parts]


def _mean_of(groups: list[SetLosses]) -> SetLosses:
    return SetLosses(*(torch.stack(losses).mean() for losses in zip(*groups, strict=True)))


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

    groups: int = 1
    """Groups of a DETR's queries, of which the model keeps the first; 11 in "Group DETR", for fewer epochs."""

    def build(self, model: BaseVisionModel[ModelConfig], labels: Labels | None) -> BoxLoss:
        return BoxLoss(model, self.groups)

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
