"""Compact detector: a convolutional stem, a short ViT, ViTDet's simple feature pyramid, and a dense head.

For small data sets and small machines, on which a DETR needs hundreds of epochs. The stem is that of `vitc`, the
pyramid that of Li et al. (2022), "Exploring plain vision transformer backbones for object detection" (ViTDet), the
head without anchors that of Tian et al. (2019), "FCOS", which task-aligned assignment trains (Feng et al., 2021,
"TOOD"); see LOG.md for the effect of each choice.
"""

import math
from dataclasses import dataclass

from torch import nn

from ..errors import VitrailError
from ..nn import (
    DenseDetectionHead,
    DenseDetections,
    Embedding,
    FeaturePyramid,
    HybridPatchEmbed,
    Stages,
    StridedConvs,
    VisionModel,
    init_vit,
)
from ..task_spec import DETECTION, TaskSpec
from .fields import BlockFields, ClassifierFields, PositionedFields, Size
from .parts import learned_positions, vit_encoder


@dataclass(frozen=True, kw_only=True, slots=True)
class CompactDetectorConfig(PositionedFields, BlockFields, ClassifierFields):
    """Convolutional stem, learned positions, pre-norm blocks, feature pyramid, dense head; output `DenseDetections`.

    Attributes:
        num_classes: number of classes K of the objects.
        stem: (width, stride) of each 3×3 convolution; a 1×1 convolution projects to `embed_dim`.
        levels: number of maps of the pyramid; the first has the grid of the tokens, each other half the one before.
        pyramid_dim: channels of the maps.
    """

    task: TaskSpec = DETECTION
    image_size: Size = 128
    num_classes: int = 80
    stem: Stages = ((32, 2), (64, 2), (64, 1), (128, 2), (128, 1))
    embed_dim: int = 128
    depth: int = 4
    num_heads: int = 4
    mlp_ratio: float = 2.0
    levels: int = 2
    pyramid_dim: int = 96

    def build(self) -> VisionModel["CompactDetectorConfig", DenseDetections]:
        if not 1 <= self.levels <= _MOST_LEVELS or self.pyramid_dim < 1:
            raise VitrailError(
                f"CompactDetectorConfig has levels={self.levels} and pyramid_dim={self.pyramid_dim}: it needs 1 to "
                f"{_MOST_LEVELS} levels of at least one channel"
            )
        reduction = math.prod(stride for _, stride in self.stem)
        convolutions = StridedConvs(self.in_channels, self.stem)
        patches = HybridPatchEmbed(convolutions, self.stem[-1][0], reduction, self.embed_dim)
        embed = Embedding(patches, positions=learned_positions(self, patches))
        resizes = [halved(level) for level in range(self.levels)]
        pyramid = FeaturePyramid(self.embed_dim, self.pyramid_dim, resizes, (self.embed_dim,) * self.levels)
        return VisionModel(
            embed=embed.apply(init_vit),
            encoder=vit_encoder(self).apply(init_vit),
            head=DenseDetectionHead(pyramid, self.pyramid_dim, self.num_classes),
            config=self,
        )


_MOST_LEVELS = 6


def halved(times: int) -> nn.Module:
    """Max pool that halves a map several times; halves are rounded up."""
    return nn.MaxPool2d(2**times, ceil_mode=True) if times else nn.Identity()


VARIANTS = {
    "compact_detector_small_128": CompactDetectorConfig(),
    "compact_detector_small_256": CompactDetectorConfig(image_size=256, levels=3),
}
