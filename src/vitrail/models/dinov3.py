"""DINOv3 (Siméoni et al., 2025, "DINOv3").

DINOv2 with registers and with rotary instead of learned positions, so that any grid works without resampling.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from ..nn import (
    MLP,
    Block,
    Embedding,
    Encoder,
    JointProjection,
    JointProjectionWithoutKeyBias,
    PrefixTokens,
    RegisterTokens,
    RotaryPositions,
    SwiGLU,
    VisionModel,
    init_vit,
    linear_rates,
)
from .fields import BlockFields, Size, ViTFields
from .parts import patch_embed, pooling_head, vit_attention, vit_residuals
from .vit import LARGE, SMALL, TINY
from .words import Pool


@dataclass(frozen=True, kw_only=True, slots=True)
class DINOv3Config(ViTFields, BlockFields):
    """DINOv3: a ViT with rotary positions, registers and layer scale; without classes its output is the pooled vector.

    Attributes:
        qkv_bias: whether queries and values have biases; keys have none.
        gated_mlp: SwiGLU instead of two layers (the "plus" variants and the 7B).
        registers: number of register tokens, after the class token.
        rotary_base: see `RotaryPositions`.
        pool: input of the classifier: the "mean" over the patches, as in timm, or the "class" token, as in the release.
    """

    image_size: Size = 256
    num_classes: int = 0
    qkv_bias: bool = False
    gated_mlp: bool = False
    registers: int = 4
    rotary_base: float = 100.0
    pool: Pool = "mean"
    norm_eps: float = 1e-5
    layer_scale: float = 1e-5

    def build(self) -> VisionModel["DINOv3Config"]:
        dim, patches = self.embed_dim, patch_embed(self)
        tokens: dict[str, nn.Module] = {"prefix": PrefixTokens(dim)}
        if self.registers:
            tokens["registers"] = RegisterTokens(dim, self.registers)
        norm = nn.LayerNorm(dim, eps=self.norm_eps)
        rates = linear_rates(self.drop_path, self.depth)
        model = VisionModel(
            embed=Embedding(patches, **tokens),
            encoder=Encoder([self.block(index, rate) for index, rate in enumerate(rates)], norm=norm),
            head=pooling_head(self, self.pool),
            config=self,
        )
        return model.apply(init_vit)

    def block(self, index: int, drop_path: float) -> Block:
        dim, widths = self.embed_dim, self.block_widths(index)
        heads, width = widths.num_heads, widths.head_dim or dim // widths.num_heads
        biased = partial(JointProjectionWithoutKeyBias, dim, heads, head_dim=width)
        plain = partial(JointProjection, dim, heads, head_dim=width, bias=False)
        attention = vit_attention(
            dim,
            heads,
            width,
            qkv=biased() if self.qkv_bias else plain(),
            refine=RotaryPositions(width, base=self.rotary_base),
            dropout=self.dropout,
        )
        hidden = widths.mlp_dim or round(dim * self.mlp_ratio)
        mlp = (SwiGLU if self.gated_mlp else MLP)(dim, hidden, dropout=self.dropout)
        return Block(**vit_residuals(self, attention, mlp, drop_path=drop_path, layer_scale=self.layer_scale))


HUGE_PLUS: dict[str, Any] = {"embed_dim": 1280, "depth": 32, "num_heads": 20, "gated_mlp": True}
SEVEN_B: dict[str, Any] = {"embed_dim": 4096, "depth": 40, "num_heads": 32, "mlp_ratio": 2.0, "gated_mlp": True}
LINGBOT: dict[str, Any] = {"image_size": 512, "pool": "class"}
GIANT: dict[str, Any] = {"embed_dim": 1536, "depth": 40, "num_heads": 24, "mlp_ratio": 8 / 3, "gated_mlp": True}

VARIANTS = {
    "vit_tiny_patch16_dinov3_qkvb": DINOv3Config(qkv_bias=True, **TINY),
    "vit_small_patch16_dinov3": DINOv3Config(**SMALL),
    "vit_small_patch16_dinov3_qkvb": DINOv3Config(qkv_bias=True, **SMALL),
    "vit_small_plus_patch16_dinov3": DINOv3Config(gated_mlp=True, **SMALL),
    "vit_small_plus_patch16_dinov3_qkvb": DINOv3Config(gated_mlp=True, qkv_bias=True, **SMALL),
    "vit_base_patch16_dinov3": DINOv3Config(),
    "vit_base_patch16_dinov3_qkvb": DINOv3Config(qkv_bias=True),
    "vit_large_patch16_dinov3": DINOv3Config(**LARGE),
    "vit_large_patch16_dinov3_qkvb": DINOv3Config(qkv_bias=True, **LARGE),
    "vit_huge_plus_patch16_dinov3": DINOv3Config(**HUGE_PLUS),
    "vit_huge_plus_patch16_dinov3_qkvb": DINOv3Config(qkv_bias=True, **HUGE_PLUS),
    "vit_7b_patch16_dinov3": DINOv3Config(**SEVEN_B),
    "vit_small_patch16_lingbot": DINOv3Config(qkv_bias=True, **LINGBOT, **SMALL),
    "vit_base_patch16_lingbot": DINOv3Config(qkv_bias=True, **LINGBOT),
    "vit_large_patch16_lingbot": DINOv3Config(qkv_bias=True, **LINGBOT, **LARGE),
    "vit_giant_patch16_lingbot": DINOv3Config(**LINGBOT, **GIANT),
}

PAPER_NAMES = ((r"dinov3-(vit-?)?<size>(-?<patch>)?", "vit_{size}_patch{patch:16}_dinov3"),)
