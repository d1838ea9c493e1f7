"""Whitened hybrid: the first stages of a network made for fast training, and a short ViT on their map.

The stem is that of Jordan (2024), "94% on CIFAR-10 in 3.29 seconds on a single GPU"; pre-norm blocks take the place of
its last convolutions. All residual branches start at zero, and all filters as the identity.
"""

from dataclasses import dataclass

from ..nn import Embedding, Head, MeanPool, Stages, VisionModel, WhitenedStem, init_vit, zero_branches
from .fields import BlockFields, ClassifierFields, PositionedFields, Size
from .parts import BRANCH_ENDS, classifier, learned_positions, vit_encoder


@dataclass(frozen=True, kw_only=True, slots=True)
class WhitenedViTConfig(PositionedFields, BlockFields, ClassifierFields):
    """Whitened stem, learned positions, pre-norm blocks, mean over the tokens.

    Attributes:
        stem: widths of the 3×3 convolutions of each stage; the map is halved after the first of them.
    """

    image_size: Size = 32
    num_classes: int = 10
    stem: Stages = ((64, 64), (256, 256))
    embed_dim: int = 256
    depth: int = 2
    num_heads: int = 4
    mlp_ratio: float = 2.0

    def build(self) -> VisionModel["WhitenedViTConfig"]:
        stem = WhitenedStem(self.in_channels, self.embed_dim, self.stem)
        encoder = vit_encoder(self)
        model = VisionModel(
            embed=Embedding(stem, positions=learned_positions(self, stem)),
            encoder=encoder,
            head=Head(MeanPool(), classifier(self.embed_dim, self.num_classes)),
            config=self,
        )
        model.apply(init_vit)
        zero_branches(encoder.blocks, BRANCH_ENDS)
        return model


VARIANTS = {
    "whitened_small_32": WhitenedViTConfig(),
    "whitened_deep_32": WhitenedViTConfig(stem=((64, 64), (256, 256, 256, 256)), depth=1),
}
