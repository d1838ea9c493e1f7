"""Body of the compact models with maps: strided convolutions, learned positions, a short ViT; for small data sets.

After Xiao et al. (2021), "Early convolutions help transformers see better". LOG.md has what other stems gave.
"""

import math
from dataclasses import dataclass

from torch import nn

from ..errors import VitrailError
from ..nn import (
    DenseDetectionHead,
    DepthHead,
    Embedding,
    FeaturePyramid,
    HybridPatchEmbed,
    SegmentationHead,
    Stages,
    StridedConvs,
    Upsampling,
    init_vit,
    upsample,
)
from .fields import BlockFields, PositionedFields, Size
from .parts import learned_positions, vit_encoder

_MOST_LEVELS = 6


@dataclass(frozen=True, kw_only=True)
class CompactBodyFields(PositionedFields, BlockFields):
    """Fields of the body.

    Attributes:
        stem: (width, stride) of each 3×3 convolution; a 1×1 convolution projects to `embed_dim`.
    """

    __slots__ = ()

    image_size: Size = 128
    stem: Stages = ((32, 2), (64, 2), (64, 1), (128, 2), (128, 1))
    embed_dim: int = 128
    depth: int = 4
    num_heads: int = 4
    mlp_ratio: float = 2.0

    @property
    def reduction(self) -> int:
        """Side of a token in pixels."""
        return math.prod(stride for _, stride in self.stem)

    def body(self) -> tuple[Embedding, nn.Module]:
        """Embedding and encoder, with fresh weights."""
        convolutions = StridedConvs(self.in_channels, self.stem)
        patches = HybridPatchEmbed(convolutions, self.stem[-1][0], self.reduction, self.embed_dim)
        embed = Embedding(patches, positions=learned_positions(self, patches))
        return embed.apply(init_vit), vit_encoder(self).apply(init_vit)

    def detector(self, num_classes: int, levels: int, dim: int) -> DenseDetectionHead:
        """Head with a pyramid of maps, of which each has half the grid of the one before (ViTDet, FCOS)."""
        if not 1 <= levels <= _MOST_LEVELS or dim < 1:
            raise VitrailError(
                f"{type(self).__name__} has levels={levels} and pyramid_dim={dim}: it needs 1 to {_MOST_LEVELS} levels "
                "of at least one channel"
            )
        resizes = [_halved(level) for level in range(levels)]
        pyramid = FeaturePyramid(self.embed_dim, dim, resizes, (self.embed_dim,) * levels)
        return DenseDetectionHead(pyramid, dim, num_classes)

    def segmenter(self, num_classes: int, dim: int, doublings: int) -> SegmentationHead:
        """Head that doubles and convolves the map, classifies its cells, and interpolates to the image's size."""
        decoder = Upsampling(self.embed_dim, dim, doublings)
        head = SegmentationHead(decoder, nn.Identity(), nn.Conv2d(dim, num_classes, 1), self._to_pixels(doublings))
        return head.apply(init_vit)

    def depth_map(self, dim: int, doublings: int) -> DepthHead:
        """Head that doubles and convolves the map, predicts inverse depths, and interpolates them."""
        predict = nn.Sequential(nn.Conv2d(dim, 1, 1), nn.Softplus(), self._to_pixels(doublings))
        return DepthHead(Upsampling(self.embed_dim, dim, doublings), predict).apply(init_vit)

    def _to_pixels(self, doublings: int) -> nn.Module:
        factor = self.reduction / 2**doublings
        if doublings < 0 or factor < 1:
            raise VitrailError(
                f"{type(self).__name__} has doublings={doublings}, and a token of {self.reduction} pixels: use 0 to "
                f"{int(math.log2(self.reduction))}"
            )
        return nn.Identity() if factor == 1 else upsample((factor, factor))


def _halved(times: int) -> nn.Module:
    """Max pool that halves a map several times; halves are rounded up."""
    return nn.MaxPool2d(2**times, ceil_mode=True) if times else nn.Identity()
