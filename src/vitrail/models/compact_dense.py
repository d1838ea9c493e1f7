"""Compact hybrid for dense tasks: a convolutional stem, a short ViT, and maps that are doubled and convolved.

The stem is that of `compact`, the decoder that of Zheng et al. (2021), "SETR-PUP". For small data sets and machines.
"""

from dataclasses import dataclass

from torch import nn

from ..nn import ConvStem, DepthHead, Embedding, SegmentationHead, Stages, Upsampling, VisionModel, init_vit, upsample
from ..task_spec import DEPTH, SEGMENTATION, TaskSpec
from .fields import BlockFields, ClassifierFields, PositionedFields, Size
from .parts import learned_positions, vit_encoder


@dataclass(frozen=True, kw_only=True, slots=True)
class CompactDenseConfig(PositionedFields, BlockFields, ClassifierFields):
    """Convolutional stem, learned positions, pre-norm blocks, and a decoder for the classes or the depth of the pixels.

    The output is logits (B, num_classes, H, W), or inverse depth (B, H, W), larger for nearer objects, if there are no
    classes.

    Attributes:
        num_classes: number of classes of the pixels; 0 for depth.
        stem: widths of the 3×3 convolutions of each stage; every stage ends by halving the map.
        dense_dim: channels of the decoder's maps.
        doublings: number of steps that double the maps and convolve them, before interpolation to the image's size.
    """

    image_size: Size = 128
    num_classes: int = 0
    stem: Stages = ((24,), (48,), (96, 96))
    embed_dim: int = 128
    depth: int = 4
    num_heads: int = 4
    mlp_ratio: float = 2.0
    dense_dim: int = 64
    doublings: int = 2

    def resolve_task(self) -> TaskSpec:
        wanted = SEGMENTATION if self.num_classes else DEPTH
        return self.task if self.task.name == wanted.name else wanted

    def build(self) -> VisionModel["CompactDenseConfig"]:
        stem = ConvStem(self.in_channels, self.embed_dim, self.stem, nn.ReLU)
        model = VisionModel(
            embed=Embedding(stem, positions=learned_positions(self, stem)),
            encoder=vit_encoder(self),
            head=self.segmentation() if self.num_classes else self.depth_map(),
            config=self,
        )
        return model.apply(init_vit)

    def segmentation(self) -> SegmentationHead:
        classify = nn.Conv2d(self.dense_dim, self.num_classes, 1)
        return SegmentationHead(self.decoder(), nn.Identity(), classify, self.to_pixels())

    def depth_map(self) -> DepthHead:
        return DepthHead(
            self.decoder(), nn.Sequential(nn.Conv2d(self.dense_dim, 1, 1), nn.Softplus(), self.to_pixels())
        )

    def decoder(self) -> Upsampling:
        return Upsampling(self.embed_dim, self.dense_dim, self.doublings)

    def to_pixels(self) -> nn.Module:
        return upsample(2 ** (len(self.stem) - self.doublings))


VARIANTS = {
    "compact_segmenter_small_128": CompactDenseConfig(num_classes=21),
    "compact_depth_small_128": CompactDenseConfig(),
}
