"""Compact detector: a compact hybrid, ViTDet's simple feature pyramid, and a dense head.

For small data sets and small machines, on which a DETR needs hundreds of epochs. The pyramid is that of Li et al.
(2022), "Exploring plain vision transformer backbones for object detection" (ViTDet), the head without anchors that of
Tian et al. (2019), "FCOS", which task-aligned assignment trains (Feng et al., 2021, "TOOD"); see LOG.md for the effect
of each choice.
"""

from dataclasses import dataclass

from ..nn import DenseDetections, VisionModel
from ..task_spec import DETECTION, TaskSpec
from .compact_body import CompactBodyFields
from .fields import ClassifierFields


@dataclass(frozen=True, kw_only=True, slots=True)
class CompactDetectorConfig(CompactBodyFields, ClassifierFields):
    """Compact body, feature pyramid, dense head; output `DenseDetections`.

    Attributes:
        num_classes: number of classes K of the objects.
        levels: number of maps of the pyramid; the first has the grid of the tokens, each other half the one before.
        pyramid_dim: channels of the maps.
    """

    task: TaskSpec = DETECTION
    num_classes: int = 80
    levels: int = 2
    pyramid_dim: int = 96

    def build(self) -> VisionModel["CompactDetectorConfig", DenseDetections]:
        head = self.detector(self.num_classes, self.levels, self.pyramid_dim)
        return VisionModel(*self.body(), head, config=self)


VARIANTS = {
    "compact_detector_small_128": CompactDetectorConfig(),
    "compact_detector_small_256": CompactDetectorConfig(image_size=256, levels=3),
}
