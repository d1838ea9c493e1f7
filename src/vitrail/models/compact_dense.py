"""Compact hybrid for dense tasks: strided convolutions, a short ViT, and maps that are doubled and convolved.

The decoder is that of Zheng et al. (2021), "SETR-PUP". For small data sets and small machines.
"""

from dataclasses import dataclass

from ..nn import VisionModel
from ..task_spec import DEPTH, SEGMENTATION, TaskSpec
from .compact_body import CompactBodyFields
from .fields import ClassifierFields


@dataclass(frozen=True, kw_only=True, slots=True)
class CompactDenseConfig(CompactBodyFields, ClassifierFields):
    """Compact body, and a decoder for the classes or the depth of the pixels.

    The output is logits (B, num_classes, H, W), or inverse depth (B, H, W), larger for nearer objects, if there are no
    classes.

    Attributes:
        num_classes: number of classes of the pixels; 0 for depth.
        dense_dim: channels of the decoder's maps.
        doublings: number of steps that double the maps and convolve them, before interpolation to the image's size.
    """

    num_classes: int = 0
    dense_dim: int = 64
    doublings: int = 2

    def resolve_task(self) -> TaskSpec:
        wanted = SEGMENTATION if self.num_classes else DEPTH
        return self.task if self.task.name == wanted.name else wanted

    def build(self) -> VisionModel["CompactDenseConfig"]:
        if self.num_classes:
            head = self.segmenter(self.num_classes, self.dense_dim, self.doublings)
            return VisionModel(*self.body(), head, config=self)
        return VisionModel(*self.body(), self.depth_map(self.dense_dim, self.doublings), config=self)


VARIANTS = {
    "compact_segmenter_small_128": CompactDenseConfig(num_classes=21),
    "compact_depth_small_128": CompactDenseConfig(),
}
