"""DINOv2 (Oquab et al., 2024, "Learning robust visual features without supervision"), with or without registers.

ViT with layer scale, whose giant has a gated MLP. Registers (Darcet et al., 2024, "Vision transformers need registers")
are tokens that mean nothing and keep the patches clean.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from ..nn.attention import MultiHeadAttention
from ..nn.embed import Embedding, PatchEmbed
from ..nn.encoder import Block, Encoder
from ..nn.init import init_vit
from ..nn.mlp import MLP, SwiGLU
from ..nn.model import VisionModel
from ..nn.positions import LearnedPositions
from ..nn.prefix import PrefixTokens, RegisterTokens
from ..nn.residual import linear_rates
from .parts import Size, pair, pooling_head, pre_norm
from .vit import LARGE, SMALL


@dataclass(frozen=True, kw_only=True, slots=True)
class DINOv2Config:
    """A ViT with layer scale and registers; without classes it gives the class token.

    Attributes:
        mlp_ratio: width inside the MLP over `embed_dim`; with a gate, 8/3 costs as much as 4 without.
        gated_mlp: SwiGLU instead of two layers (the giant).
        registers: how many tokens stand behind the class token.
        pool: what is classified: the "class" token, or "both" it and the mean over the patches, as in transformers.
        other fields: as in `ViTConfig`.
    """

    image_size: Size = 518
    patch_size: Size = 14
    in_channels: int = 3
    num_classes: int = 0
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    gated_mlp: bool = False
    registers: int = 0
    pool: str = "class"
    drop_path: float = 0.0
    dropout: float = 0.0
    norm_eps: float = 1e-6
    layer_scale: float = 1e-5
    class_position: bool = True
    pad: bool = False
    position_mode: str = "bicubic"
    position_antialias: bool = True
    position_offset: float = 0.0

    def build(self) -> VisionModel:
        dim = self.embed_dim
        norm = nn.LayerNorm(dim, eps=self.norm_eps)
        model = VisionModel(
            embed=self.embedding(),
            encoder=Encoder([self.block(rate) for rate in linear_rates(self.drop_path, self.depth)], norm=norm),
            head=pooling_head(self.pool, dim, self.num_classes),
            config=self,
        )
        return model.apply(init_vit)

    def embedding(self) -> Embedding:
        dim = self.embed_dim
        patches = PatchEmbed(self.in_channels, dim, pair(self.patch_size), pad=self.pad)
        positions = LearnedPositions(
            patches.grid(pair(self.image_size)),
            dim,
            prefix=1 if self.class_position else 0,
            mode=self.position_mode,
            antialias=self.position_antialias,
            offset=self.position_offset,
        )
        parts: dict[str, nn.Module] = {"prefix": PrefixTokens(dim), "positions": positions}
        if not self.class_position:
            parts = {"positions": positions, "prefix": parts["prefix"]}
        if self.registers:
            parts["registers"] = RegisterTokens(dim, self.registers)
        return Embedding(patches, **parts)

    def block(self, drop_path: float) -> Block:
        dim = self.embed_dim
        residual = partial(pre_norm, dim, drop_path=drop_path, layer_scale=self.layer_scale, norm_eps=self.norm_eps)
        mlp = SwiGLU if self.gated_mlp else MLP
        return Block(
            attention=residual(MultiHeadAttention(dim, self.num_heads, dropout=self.dropout)),
            mlp=residual(mlp(dim, round(dim * self.mlp_ratio), dropout=self.dropout)),
        )


GIANT: dict[str, Any] = {"embed_dim": 1536, "depth": 40, "num_heads": 24, "mlp_ratio": 8 / 3, "gated_mlp": True}
# timm adds the class token's position to the token itself where there are registers.
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
