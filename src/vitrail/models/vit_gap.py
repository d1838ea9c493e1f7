"""ViT without class token (Zhai et al., 2022, "Scaling Vision Transformers", section 4.4), pooled by the mean.

timm's variants with registers, so that a mean over the patches stays clean, and those of I-JEPA's encoders.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from ..nn import (
    MLP,
    Block,
    Embedding,
    Encoder,
    Head,
    JointProjection,
    MeanPool,
    MultiHeadAttentionPool,
    PatchesOnly,
    RegisterTokens,
    VisionModel,
    init_vit,
    linear_rates,
)
from .fields import BlockFields, PositionedFields, Size, ViTFields
from .parts import classifier, learned_positions, patch_embed, vit_attention, vit_residuals
from .vit import GIANT, HUGE
from .words import PatchPool


@dataclass(frozen=True, kw_only=True, slots=True)
class GapViTConfig(ViTFields, PositionedFields, BlockFields):
    """ViT without class token, with "global average pooling" of the patches.

    Attributes:
        layer_scale: initial factor of each branch, or None for no layer scale.
        qkv_bias: whether queries, keys and values have biases.
        registers: number of register tokens.
        register_positions: whether the registers have positions.
        norm_after_pool: norm of the mean instead of the tokens.
        pool: input of the classifier, see `words.Pool`.
    """

    image_size: Size = 256
    layer_scale: float | None = None
    qkv_bias: bool = True
    registers: int = 0
    register_positions: bool = False
    norm_after_pool: bool = False
    pool: PatchPool = "mean"

    def build(self) -> VisionModel["GapViTConfig"]:
        dim = self.embed_dim
        norm = nn.LayerNorm(dim, eps=self.norm_eps)
        rates = linear_rates(self.drop_path, self.depth)
        blocks = [self.block(index, rate) for index, rate in enumerate(rates)]
        model = VisionModel(
            embed=self.embedding(),
            encoder=Encoder(blocks, norm=None if self.norm_after_pool else norm),
            head=Head(self.pooling(), classifier(dim, self.num_classes), norm=norm if self.norm_after_pool else None),
            config=self,
        )
        return model.apply(init_vit)

    def embedding(self) -> Embedding:
        patches = patch_embed(self)
        registers = {"registers": RegisterTokens(self.embed_dim, self.registers)} if self.registers else {}
        if self.register_positions:
            return Embedding(patches, **registers, positions=learned_positions(self, patches, prefix=self.registers))
        return Embedding(patches, positions=learned_positions(self, patches), **registers)

    def pooling(self) -> nn.Module:
        if self.pool == "mean":
            return MeanPool()
        mlp = MLP(self.embed_dim, int(self.embed_dim * self.mlp_ratio))
        return MultiHeadAttentionPool(self.embed_dim, self.num_heads, mlp, norm_eps=self.norm_eps, select=PatchesOnly())

    def block(self, index: int, drop_path: float) -> Block:
        widths = self.block_widths(index)
        heads, width = widths.num_heads, widths.head_dim
        qkv = JointProjection(self.embed_dim, heads, head_dim=width, bias=self.qkv_bias)
        attention = vit_attention(self.embed_dim, heads, width, qkv=qkv, dropout=self.dropout)
        mlp = self.mlp(widths.mlp_dim)
        return Block(**vit_residuals(self, attention, mlp, drop_path=drop_path, layer_scale=self.layer_scale))

    def mlp(self, hidden: int | None) -> nn.Module | None:
        return MLP(self.embed_dim, hidden, dropout=self.dropout) if hidden else None


SMALL: dict[str, Any] = {"layer_scale": 1e-6, "qkv_bias": False}
LITTLE: dict[str, Any] = {"embed_dim": 320, "depth": 14, "num_heads": 5, "mlp_ratio": 5.6}
MEDIUM: dict[str, Any] = {"embed_dim": 512, "num_heads": 8}
DEEP: dict[str, Any] = {**MEDIUM, "depth": 20}
BETWIXT: dict[str, Any] = {"embed_dim": 640, "num_heads": 10}
SO150M: dict[str, Any] = {"embed_dim": 896, "depth": 18, "num_heads": 14, "mlp_ratio": 2.572}
SO150M2: dict[str, Any] = {"embed_dim": 832, "depth": 21, "num_heads": 13, "mlp_ratio": 34 / 13}
ONE: dict[str, Any] = {"registers": 1, "layer_scale": 1e-5, "norm_after_pool": True}
FOUR: dict[str, Any] = {**ONE, "registers": 4}
SECOND: dict[str, Any] = {**ONE, "qkv_bias": False, "register_positions": True, **SO150M2}
FIRST: dict[str, Any] = {"registers": 4, "register_positions": True, **SO150M}

VARIANTS = {
    "vit_medium_patch16_gap_240": GapViTConfig(image_size=240, **MEDIUM, **SMALL),
    "vit_medium_patch16_gap_256": GapViTConfig(**MEDIUM, **SMALL),
    "vit_medium_patch16_gap_384": GapViTConfig(image_size=384, **MEDIUM, **SMALL),
    "vit_betwixt_patch16_gap_256": GapViTConfig(**BETWIXT, **SMALL),
    "vit_base_patch16_gap_224": GapViTConfig(image_size=224, num_heads=16),
    "vit_huge_patch14_gap_224": GapViTConfig(image_size=224, patch_size=14, **HUGE),
    "vit_huge_patch16_gap_448": GapViTConfig(image_size=448, **HUGE),
    "vit_giant_patch16_gap_224": GapViTConfig(image_size=224, **GIANT),
    "vit_wee_patch16_reg1_gap_256": GapViTConfig(embed_dim=256, depth=14, num_heads=4, mlp_ratio=5.0, **ONE),
    "vit_little_patch16_reg1_gap_256": GapViTConfig(**LITTLE, **ONE),
    "vit_little_patch16_reg4_gap_256": GapViTConfig(**LITTLE, **FOUR),
    "vit_medium_patch16_reg1_gap_256": GapViTConfig(**MEDIUM, **ONE),
    "vit_medium_patch16_reg4_gap_256": GapViTConfig(**MEDIUM, **FOUR),
    "vit_mediumd_patch16_reg4_gap_256": GapViTConfig(**DEEP, **FOUR),
    "vit_mediumd_patch16_reg4_gap_384": GapViTConfig(image_size=384, **DEEP, **FOUR),
    "vit_betwixt_patch16_reg1_gap_256": GapViTConfig(**BETWIXT, **ONE),
    "vit_betwixt_patch16_reg4_gap_256": GapViTConfig(**BETWIXT, **FOUR),
    "vit_betwixt_patch16_reg4_gap_384": GapViTConfig(image_size=384, **BETWIXT, **FOUR),
    "vit_base_patch16_reg4_gap_256": GapViTConfig(registers=4, norm_after_pool=True),
    "vit_so150m_patch16_reg4_map_256": GapViTConfig(pool="multi_head", **FIRST),
    "vit_so150m_patch16_reg4_gap_256": GapViTConfig(**FIRST),
    "vit_so150m_patch16_reg4_gap_384": GapViTConfig(image_size=384, **FIRST),
    "vit_so150m2_patch16_reg1_gap_256": GapViTConfig(**SECOND),
    "vit_so150m2_patch16_reg1_gap_384": GapViTConfig(image_size=384, **SECOND),
    "vit_so150m2_patch16_reg1_gap_448": GapViTConfig(image_size=448, **SECOND),
}
