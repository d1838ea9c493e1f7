"""DINOv2 (Oquab et al., 2024, "Learning robust visual features without supervision"), with or without registers.

ViT with layer scale; the giant model has a gated MLP. Registers (Darcet et al., 2024, "Vision transformers need
registers") are additional tokens that keep artifacts out of the patch tokens.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from ..nn import (
    MLP,
    Block,
    Embedding,
    Encoder,
    PrefixTokens,
    RegisterTokens,
    SwiGLU,
    VisionModel,
    init_vit,
    linear_rates,
)
from .fields import BlockFields, PositionedFields, Size, ViTFields
from .parts import learned_positions, patch_embed, pooling_head, vit_attention, vit_residuals
from .vit import LARGE, SMALL
from .words import Pool


@dataclass(frozen=True, kw_only=True, slots=True)
class DINOv2Config(ViTFields, PositionedFields, BlockFields):
    """DINOv2: a ViT with layer scale and registers; without classes its output is the class token.

    Attributes:
        mlp_ratio: hidden width of the MLP, in units of `embed_dim`; 8/3 with a gate costs as much as 4 without.
        gated_mlp: SwiGLU instead of two layers (the giant).
        registers: number of register tokens, after the class token.
        pool: input of the classifier: the "class" token, or "both" it and the mean over the patches (transformers).
    """

    image_size: Size = 518
    patch_size: Size = 14
    num_classes: int = 0
    gated_mlp: bool = False
    registers: int = 0
    pool: Pool = "class"
    layer_scale: float = 1e-5
    class_position: bool = True
    position_offset: float = 0.0

    def build(self) -> VisionModel["DINOv2Config"]:
        dim = self.embed_dim
        norm = nn.LayerNorm(dim, eps=self.norm_eps)
        rates = linear_rates(self.drop_path, self.depth)
        model = VisionModel(
            embed=self.embedding(),
            encoder=Encoder([self.block(index, rate) for index, rate in enumerate(rates)], norm=norm),
            head=pooling_head(self, self.pool),
            config=self,
        )
        return model.apply(init_vit)

    def embedding(self) -> Embedding:
        dim = self.embed_dim
        patches = patch_embed(self)
        positions = learned_positions(
            self, patches, prefix=1 if self.class_position else 0, offset=self.position_offset
        )
        parts: dict[str, nn.Module] = {"prefix": PrefixTokens(dim), "positions": positions}
        if not self.class_position:
            parts = {"positions": positions, "prefix": parts["prefix"]}
        if self.registers:
            parts["registers"] = RegisterTokens(dim, self.registers)
        return Embedding(patches, **parts)

    def block(self, index: int, drop_path: float) -> Block:
        dim, widths = self.embed_dim, self.block_widths(index)
        attention = vit_attention(dim, widths.num_heads, widths.head_dim, dropout=self.dropout)
        hidden = widths.mlp_dim or round(dim * self.mlp_ratio)
        mlp = (SwiGLU if self.gated_mlp else MLP)(dim, hidden, dropout=self.dropout)
        return Block(**vit_residuals(self, attention, mlp, drop_path=drop_path, layer_scale=self.layer_scale))


GIANT: dict[str, Any] = {"embed_dim": 1536, "depth": 40, "num_heads": 24, "mlp_ratio": 8 / 3, "gated_mlp": True}
# With registers, timm stores the class token's position as a part of the token.
REGISTERS: dict[str, Any] = {"registers": 4, "class_position": False}

VARIANTS = {
    "vit_small_patch14_dinov2": DINOv2Config(**SMALL),
    "vit_base_patch14_dinov2": DINOv2Config(),
    "vit_large_patch14_dinov2": DINOv2Config(**LARGE),
    "vit_giant_patch14_dinov2": DINOv2Config(**GIANT),
    "vit_small_patch14_reg4_dinov2": DINOv2Config(**SMALL, **REGISTERS),
    "vit_base_patch14_reg4_dinov2": DINOv2Config(**REGISTERS),
    "vit_large_patch14_reg4_dinov2": DINOv2Config(**LARGE, **REGISTERS),
    "vit_giant_patch14_reg4_dinov2": DINOv2Config(**GIANT, **REGISTERS),
}

PAPER_NAMES = (
    (r"dinov2-(vit-?)?<size>(-?<patch>)?", "vit_{size}_patch{patch:14}_dinov2"),
    (r"dinov2-(vit-?)?<size>(-?<patch>)?-(with-)?reg(isters|4)?", "vit_{size}_patch{patch:14}_reg4_dinov2"),
)
