"""Compact hybrid: a convolutional stem and a short ViT, for small data sets and small machines.

After Hassani et al. (2021), "Escaping the big data paradigm with compact transformers" (CCT), and Xiao et al. (2021),
"Early convolutions help transformers see better". The stem's batch norm and residuals are ours; see LOG.md for the
effect of each choice on CIFAR-10.
"""

from dataclasses import dataclass

from torch import nn

from ..nn import ConvStem, Embedding, Head, MeanPool, Stages, VisionModel, init_vit
from .fields import BlockFields, ClassifierFields, PositionedFields, Size
from .parts import classifier, learned_positions, vit_encoder


@dataclass(frozen=True, kw_only=True, slots=True)
class CompactViTConfig(PositionedFields, BlockFields, ClassifierFields):
    """Convolutional stem, learned positions, pre-norm blocks, mean over the tokens.

    Attributes:
        stem: widths of the 3×3 convolutions of each stage; every stage ends by halving the map.
    """

    image_size: Size = 32
    num_classes: int = 10
    stem: Stages = ((32,), (64, 64), (128, 128, 192))
    embed_dim: int = 192
    depth: int = 4
    num_heads: int = 3
    mlp_ratio: float = 2.0

    def build(self) -> VisionModel["CompactViTConfig"]:
        dim = self.embed_dim
        stem = ConvStem(self.in_channels, dim, self.stem, nn.ReLU)
        model = VisionModel(
            embed=Embedding(stem, positions=learned_positions(self, stem)),
            encoder=vit_encoder(self),
            head=Head(MeanPool(), classifier(dim, self.num_classes)),
            config=self,
        )
        return model.apply(init_vit)


VARIANTS = {
    "compact_tiny_8": CompactViTConfig(image_size=8, stem=((32, 64),), embed_dim=96, num_heads=3),
    "compact_tiny_16": CompactViTConfig(image_size=16, stem=((24, 48), (96,)), embed_dim=96, num_heads=3),
    "compact_small_32": CompactViTConfig(depth=2),
    "compact_small_64": CompactViTConfig(image_size=64, stem=((24, 48), (96,), (96, 192))),
    "compact_small_128": CompactViTConfig(image_size=128, stem=((24,), (48,), (96, 96), (192, 192))),
    "compact_small_224": CompactViTConfig(image_size=224, stem=((24,), (48,), (96, 96), (192, 192))),
}
