"""EVA (Fang et al., 2023, "EVA: exploring the limits of masked visual representation learning at scale") and EVA-02.

A ViT without a bias of the keys, pooled by the mean. EVA-02 (Fang et al., 2023, "EVA-02: a visual representation for
neon genesis", section 2.2) adds rotary positions to the learned ones, and gated MLPs, with a norm in the larger models.
timm's rotary ViTs with registers instead of a class token are rows of the same config.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from ..errors import VitrailError
from ..nn import (
    MLP,
    Block,
    Embedding,
    Encoder,
    GridRotaryPositions,
    JointProjection,
    JointProjectionWithoutKeyBias,
    LinearOfNorm,
    PrefixTokens,
    RegisterTokens,
    SwiGLU,
    VisionModel,
    init_vit,
    linear_rates,
    shrink_by_depth,
)
from .fields import BlockFields, PositionedFields, Size, ViTFields
from .parts import BRANCH_ENDS, learned_positions, patch_embed, pooling_head, vit_attention, vit_residuals
from .vit import LARGE, SMALL, TINY
from .words import Pool


@dataclass(frozen=True, kw_only=True, slots=True)
class EVAConfig(ViTFields, PositionedFields, BlockFields):
    """EVA and EVA-02.

    Attributes:
        class_token: whether there is a class token.
        registers: number of register tokens, which have no position.
        absolute_positions: learned positions of the class token and the patches.
        rotary_grid: (rows, columns) of the grid of the rotary positions, which other grids are scaled to; None: there
            are none.
        qkv_bias: whether queries and values have biases; keys have none.
        gated_mlp: SwiGLU instead of two layers.
        mlp_norm: norm after the gate.
        head_norm: norm of the joined heads before the output projection (EVA-02's CLIP).
        layer_scale: initial factor of each branch, or None for no layer scale.
        pool: input of the classifier, see `words.Pool`; for "mean" the norm is after the mean over the patches.
    """

    class_token: bool = True
    registers: int = 0
    absolute_positions: bool = True
    rotary_grid: tuple[int, int] | None = None
    qkv_bias: bool = True
    gated_mlp: bool = False
    mlp_norm: bool = False
    head_norm: bool = False
    layer_scale: float | None = None
    pool: Pool = "mean"
    patch_size: Size = 14

    def build(self) -> VisionModel["EVAConfig"]:
        dim, in_head = self.embed_dim, self.pool == "mean"
        norm = nn.LayerNorm(dim, eps=self.norm_eps)
        rates = linear_rates(self.drop_path, self.depth)
        blocks = [self.block(index, rate) for index, rate in enumerate(rates)]
        model = VisionModel(
            embed=self.embedding(),
            encoder=Encoder(blocks, norm=None if in_head else norm),
            head=pooling_head(self, self.pool, norm=norm if in_head else None),
            config=self,
        )
        model.apply(init_vit)
        shrink_by_depth(blocks, ends=BRANCH_ENDS)
        return model

    def embedding(self) -> Embedding:
        dim, patches, parts = self.embed_dim, patch_embed(self), dict[str, nn.Module]()
        if not self.class_token and self.pool in ("class", "both"):
            raise VitrailError(f"EVAConfig has class_token=False and pool={self.pool!r}: choose the pool 'mean'")
        if self.class_token:
            parts["prefix"] = PrefixTokens(dim)
        if self.absolute_positions:
            parts["positions"] = learned_positions(self, patches, prefix=len(parts))
        if self.registers:
            parts["registers"] = RegisterTokens(dim, self.registers)
        return Embedding(patches, **parts)

    def block(self, index: int, drop_path: float) -> Block:
        dim, widths = self.embed_dim, self.block_widths(index)
        heads, width = widths.num_heads, widths.head_dim or dim // widths.num_heads
        qkv = JointProjectionWithoutKeyBias(dim, heads, head_dim=width) if self.qkv_bias else None
        rotary = None if self.rotary_grid is None else GridRotaryPositions(width, reference=self.rotary_grid)
        joined = nn.LayerNorm(heads * width, eps=self.norm_eps)
        attention = vit_attention(
            dim,
            heads,
            width,
            qkv=qkv or JointProjection(dim, heads, head_dim=width, bias=False),
            refine=rotary,
            project=LinearOfNorm(heads * width, dim, joined) if self.head_norm else None,
            dropout=self.dropout,
        )
        mlp = self.mlp(widths.mlp_dim or int(dim * self.mlp_ratio))
        return Block(**vit_residuals(self, attention, mlp, drop_path=drop_path, layer_scale=self.layer_scale))

    def mlp(self, hidden: int) -> nn.Module:
        norm = nn.LayerNorm(hidden, eps=self.norm_eps) if self.mlp_norm else None
        return (SwiGLU if self.gated_mlp else MLP)(self.embed_dim, hidden, norm=norm, dropout=self.dropout)


GIANT: dict[str, Any] = {"embed_dim": 1408, "depth": 40, "num_heads": 16, "mlp_ratio": 6144 / 1408}
TWO: dict[str, Any] = {"gated_mlp": True, "mlp_ratio": 4 * 2 / 3, "rotary_grid": (16, 16)}
NORMED: dict[str, Any] = {**TWO, "mlp_norm": True}
CLIP: dict[str, Any] = {**NORMED, "head_norm": True, "pool": "class"}
ROTARY: dict[str, Any] = {"class_token": False, "absolute_positions": False, "rotary_grid": (16, 16)}
REGISTERS: dict[str, Any] = {**ROTARY, "registers": 1, "layer_scale": 1e-5, "patch_size": 16, "image_size": 256}
MEDIUM: dict[str, Any] = {"embed_dim": 512, "num_heads": 8}

VARIANTS = {
    "eva_giant_patch14_224": EVAConfig(**GIANT),
    "eva_giant_patch14_336": EVAConfig(image_size=336, **GIANT),
    "eva_giant_patch14_560": EVAConfig(image_size=560, **GIANT),
    "eva_giant_patch14_clip_224": EVAConfig(pool="class", **GIANT),
    "eva02_tiny_patch14_224": EVAConfig(**TWO, **TINY),
    "eva02_tiny_patch14_336": EVAConfig(image_size=336, **TWO, **TINY),
    "eva02_small_patch14_224": EVAConfig(**TWO, **SMALL),
    "eva02_small_patch14_336": EVAConfig(image_size=336, **TWO, **SMALL),
    "eva02_base_patch14_224": EVAConfig(**NORMED),
    "eva02_base_patch14_448": EVAConfig(image_size=448, **NORMED),
    "eva02_large_patch14_224": EVAConfig(**NORMED, **LARGE),
    "eva02_large_patch14_448": EVAConfig(image_size=448, **NORMED, **LARGE),
    "eva02_base_patch16_clip_224": EVAConfig(patch_size=16, **CLIP),
    "eva02_large_patch14_clip_224": EVAConfig(**CLIP, **LARGE),
    "eva02_large_patch14_clip_336": EVAConfig(image_size=336, **CLIP, **LARGE),
    "vit_medium_patch16_rope_reg1_gap_256": EVAConfig(**REGISTERS, **MEDIUM),
    "vit_mediumd_patch16_rope_reg1_gap_256": EVAConfig(**REGISTERS, **MEDIUM, depth=20, qkv_bias=False),
    "vit_betwixt_patch16_rope_reg4_gap_256": EVAConfig(
        **{**REGISTERS, "registers": 4, "embed_dim": 640, "num_heads": 10}
    ),
    "vit_base_patch16_rope_reg1_gap_256": EVAConfig(**REGISTERS),
}

PAPER_NAMES = (
    (r"eva", "eva_giant_patch14_224"),
    (r"eva-?02-<size>", "eva02_{size}_patch14_224"),
)
