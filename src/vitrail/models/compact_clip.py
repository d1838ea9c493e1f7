"""Compact dual encoder: the compact hybrid and a short text transformer, for small data sets and small machines.

The image encoder is that of `compact`, the text encoder that of SigLIP (Zhai et al., 2023): every token attends to
every token, and the last one is projected. It can be trained with the loss of either paper, see `sigmoid`.
"""

from dataclasses import dataclass, replace

from torch import nn

from ..nn import (
    BiasedCosine,
    ConvStem,
    DualEncoder,
    Embedding,
    LastToken,
    ProjectionHead,
    ScaledCosine,
    Stages,
    TextEmbed,
    TextModel,
    VisionModel,
    init_vit,
)
from ..task_spec import EMBEDDING
from .compact import CompactViTConfig
from .fields import BlockFields, Size, shared_fields
from .parts import POOLS, learned_positions, vit_encoder
from .text import DualFields, init_siglip, text_encoder
from .words import Activation, PatchPool


@dataclass(frozen=True, kw_only=True, slots=True)
class CompactCLIPConfig(DualFields, BlockFields):
    """Image and text encoder, compared by their cosine.

    Attributes:
        stem: widths of the 3×3 convolutions of each stage; every stage ends by halving the map.
        pool: pool over the tokens of an image.
        joint_dim: width of the space that images and texts are projected into.
        sigmoid: whether a logit is the scaled cosine plus a bias, whose sigmoid is the probability that image and text
            belong together (SigLIP); otherwise it has no bias (CLIP).
        other fields: fields of the image encoder, as in `CompactViTConfig`, and of the text encoder. The vocabulary and
            the length of texts are chosen from the captions.
    """

    image_size: Size = 64
    stem: Stages = ((24,), (48,), (64, 128))
    embed_dim: int = 128
    depth: int = 4
    num_heads: int = 4
    mlp_ratio: float = 2.0
    pool: PatchPool = "mean"
    activation: Activation = "gelu"
    context_length: int = 16
    vocab_size: int = 512
    text_dim: int = 128
    text_depth: int = 3
    text_heads: int = 4
    text_mlp_ratio: float = 2.0
    joint_dim: int = 128
    sigmoid: bool = False

    def build(self) -> DualEncoder["CompactCLIPConfig"]:
        compare = BiasedCosine(scale=10.0, bias=-10.0) if self.sigmoid else ScaledCosine(scale=1 / 0.07)
        return DualEncoder(self.image(), self.text(), compare, config=self)

    def image(self) -> VisionModel[CompactViTConfig]:
        """Build the image encoder, whose output is in the joint space."""
        stem = ConvStem(self.in_channels, self.embed_dim, self.stem, nn.ReLU)
        shared = {**shared_fields(self, CompactViTConfig), "task": EMBEDDING}
        model = VisionModel(
            embed=Embedding(stem, positions=learned_positions(self, stem)),
            encoder=vit_encoder(self),
            head=ProjectionHead(POOLS[self.pool](self), nn.Linear(self.embed_dim, self.joint_dim)),
            config=CompactViTConfig(num_classes=0, **shared),
        )
        return model.apply(init_vit)

    def text(self) -> TextModel:
        """Build the text encoder."""
        embed = TextEmbed(self.vocab_size, self.text_dim, self.context_length)
        project = nn.Linear(self.text_dim, self.joint_dim)
        model = TextModel(embed, text_encoder(self), LastToken(), project)
        return model.apply(init_siglip)


VARIANTS = {
    "compact_clip_tiny_32": CompactCLIPConfig(image_size=32, stem=((32,), (64, 96)), depth=3),
    "compact_clip_small_64": CompactCLIPConfig(),
    "compact_clip_small_128": CompactCLIPConfig(image_size=128, stem=((16,), (32,), (64,), (96, 128))),
}
VARIANTS |= {name.replace("clip", "siglip"): replace(row, sigmoid=True) for name, row in VARIANTS.items()}
