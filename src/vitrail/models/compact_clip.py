"""Compact dual encoder: the compact hybrid and a short text transformer, for small data sets and small machines.

The image encoder is that of `compact`, the text encoder that of SigLIP (Zhai et al., 2023): every token attends to
every token, and the last one is projected. It can be trained with the loss of either paper, see `sigmoid`.
"""

from dataclasses import dataclass, replace

from torch import nn

from ..nn import (
    ConvStem,
    DualEncoder,
    Embedding,
    ProjectionHead,
    Stages,
    VisionModel,
    init_vit,
)
from ..task_spec import EMBEDDING
from .compact import CompactViTConfig
from .fields import BlockFields, PositionedFields, Size, shared_fields
from .parts import POOLS, learned_positions, vit_encoder
from .text import ShortTextFields
from .words import PatchPool


@dataclass(frozen=True, kw_only=True, slots=True)
class CompactCLIPConfig(ShortTextFields, PositionedFields, BlockFields):
    """Image and text encoder, compared by their cosine.

    Attributes:
        stem: widths of the 3×3 convolutions of each stage; every stage ends by halving the map.
        pool: pool over the tokens of an image.
        other fields: fields of the image encoder, as in `CompactViTConfig`, and of the text encoder. The vocabulary and
            the length of texts are chosen from the captions; `activation` and `norm_eps` are for both encoders.
    """

    image_size: Size = 64
    stem: Stages = ((24,), (48,), (64, 128))
    embed_dim: int = 128
    depth: int = 4
    num_heads: int = 4
    mlp_ratio: float = 2.0
    pool: PatchPool = "mean"

    def build(self) -> DualEncoder["CompactCLIPConfig"]:
        return DualEncoder(self.image(), self.text(), self.compare(), config=self)

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


VARIANTS = {
    "compact_clip_tiny_32": CompactCLIPConfig(image_size=32, stem=((32,), (64, 96)), depth=3),
    "compact_clip_small_64": CompactCLIPConfig(),
    "compact_clip_small_128": CompactCLIPConfig(image_size=128, stem=((16,), (32,), (64,), (96, 128))),
}
VARIANTS |= {name.replace("clip", "siglip"): replace(row, sigmoid=True) for name, row in VARIANTS.items()}
