"""CaiT (Touvron et al., 2021, "Going deeper with image transformers").

The first blocks are for patches only, with talking heads; in the last blocks a class token attends to the patches.
A small layer scale makes deep models trainable.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from ..nn import (
    MLP,
    Block,
    ClassAttention,
    Embedding,
    Encoder,
    FirstToken,
    Head,
    MultiHeadAttention,
    PrefixOnly,
    PrefixTokens,
    Stage,
    TalkingHeadsAttend,
    VisionModel,
    init_vit,
)
from .fields import PositionedFields, ViTFields
from .parts import classifier, learned_positions, patch_embed, vit_residuals


@dataclass(frozen=True, kw_only=True, slots=True)
class CaiTConfig(ViTFields, PositionedFields):
    """CaiT: blocks of the patches, then blocks of the class token.

    Attributes:
        depth, class_depth: number of blocks of the patches, and of the class token.
        layer_scale: initial factor of each branch; smaller for deeper models (table 1).
        drop_path: rate of stochastic depth, the same in all blocks of the patches, and 0 in those of the class token.
    """

    embed_dim: int = 384
    depth: int = 24
    class_depth: int = 2
    num_heads: int = 8
    layer_scale: float = 1e-5

    def build(self) -> VisionModel["CaiTConfig"]:
        dim = self.embed_dim
        patches = patch_embed(self)
        positions = learned_positions(self, patches)
        class_token = PrefixTokens(dim)
        nn.init.trunc_normal_(class_token.weight, std=0.02)
        stages = [
            Stage([self.patch_block() for _ in range(self.depth)]),
            Stage([self.class_block() for _ in range(self.class_depth)], reduce=class_token),
        ]
        model = VisionModel(
            embed=Embedding(patches, positions=positions),
            encoder=Encoder(stages, norm=nn.LayerNorm(dim, eps=self.norm_eps)),
            head=Head(FirstToken(), classifier(dim, self.num_classes)),
            config=self,
        )
        return model.apply(init_vit)

    def patch_block(self) -> Block:
        dim, heads = self.embed_dim, self.num_heads
        attention = MultiHeadAttention(dim, heads, attend=TalkingHeadsAttend(heads), dropout=self.dropout)
        return Block(**vit_residuals(self, attention, drop_path=self.drop_path, layer_scale=self.layer_scale))

    def class_block(self) -> Block:
        attention = ClassAttention(self.embed_dim, self.num_heads)
        mlp = MLP(self.embed_dim, int(self.embed_dim * self.mlp_ratio), dropout=self.dropout)
        return Block(**vit_residuals(self, attention, PrefixOnly(mlp), layer_scale=self.layer_scale))


XXS: dict[str, Any] = {"embed_dim": 192, "num_heads": 4}
M: dict[str, Any] = {"embed_dim": 768, "num_heads": 16, "layer_scale": 1e-6}

VARIANTS = {
    "cait_xxs24_224": CaiTConfig(**XXS),
    "cait_xxs24_384": CaiTConfig(image_size=384, **XXS),
    "cait_xxs36_224": CaiTConfig(depth=36, **XXS),
    "cait_xxs36_384": CaiTConfig(image_size=384, depth=36, **XXS),
    "cait_xs24_384": CaiTConfig(image_size=384, embed_dim=288, num_heads=6),
    "cait_s24_224": CaiTConfig(),
    "cait_s24_384": CaiTConfig(image_size=384),
    "cait_s36_384": CaiTConfig(image_size=384, depth=36, layer_scale=1e-6),
    "cait_m36_384": CaiTConfig(image_size=384, depth=36, **M),
    "cait_m48_448": CaiTConfig(image_size=448, depth=48, **M),
}

PAPER_NAMES = (
    (r"cait-xs-?24(-384)?", "cait_xs24_384"),
    (r"cait-(?P<kind>[sm])-?36(-384)?", "cait_{kind}36_384"),
    (r"cait-m-?48(-448)?", "cait_m48_448"),
    (r"cait-(?P<kind>xxs|s)-?<number>(-<image>)?", "cait_{kind}{number}_{image:224}"),
)
