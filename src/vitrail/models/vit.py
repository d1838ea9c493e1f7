"""Vision Transformer (Dosovitskiy et al., 2021, "An image is worth 16x16 words", section 3.1)."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from ..nn import Embedding, PrefixTokens, VisionModel, init_vit
from .fields import BlockFields, PositionedFields, ViTFields, pair
from .parts import patch_embed, pooling_head, vit_encoder
from .positions import position_parts
from .words import HeadKind, Pool, PositionKind


@dataclass(frozen=True, kw_only=True, slots=True)
class ViTConfig(ViTFields, PositionedFields, BlockFields):
    """ViT with a class token.

    Attributes:
        layer_scale: initial factor of each branch (DeiT III), or None for no layer scale.
        pool: input of the classifier, see `words.Pool`; for "mean" the norm is after the mean over the patches (MAE).
        head: "linear", or "mlp" with a hidden layer, see `words.HeadKind`.
        class_position: whether the class token has a position (ViT) or not (DeiT III).
        positions: "learned", "axes" (rows and columns), "sinusoidal", "sincos" or "none".
        position_offset: offset in the resampling of positions, see `nn.positions.resample_positions`.
        position_grid: (rows, columns) of the stored positions, if not the grid of `image_size`.
    """

    layer_scale: float | None = None
    pool: Pool = "class"
    head: HeadKind = "linear"
    class_position: bool = True
    positions: PositionKind = "learned"
    position_offset: float = 0.0
    position_grid: tuple[int, int] | None = None

    def build(self) -> VisionModel["ViTConfig"]:
        dim = self.embed_dim
        patches = patch_embed(self)
        class_token = PrefixTokens(dim)
        grid = patches.grid(pair(self.image_size))
        positions = position_parts(self, grid, prefix=1 if self.class_position else 0)
        if self.class_position:
            embed = Embedding(patches, prefix=class_token, **positions)
        else:
            embed = Embedding(patches, **positions, prefix=class_token)
        norm_in_head = self.pool == "mean"
        norm = nn.LayerNorm(dim, eps=self.norm_eps) if norm_in_head else None
        model = VisionModel(
            embed=embed,
            encoder=vit_encoder(self, layer_scale=self.layer_scale, norm=not norm_in_head),
            head=pooling_head(self, self.pool, head=self.head, norm=norm),
            config=self,
        )
        return model.apply(init_vit)


TINY: dict[str, Any] = {"embed_dim": 192, "num_heads": 3}
SMALL: dict[str, Any] = {"embed_dim": 384, "num_heads": 6}
LARGE: dict[str, Any] = {"embed_dim": 1024, "depth": 24, "num_heads": 16}
HUGE: dict[str, Any] = {"embed_dim": 1280, "depth": 32, "num_heads": 16}
GIANT: dict[str, Any] = {"embed_dim": 1408, "depth": 40, "num_heads": 16, "mlp_ratio": 48 / 11}
GIGANTIC: dict[str, Any] = {"embed_dim": 1664, "depth": 48, "num_heads": 16, "mlp_ratio": 64 / 13}
PLUS: dict[str, Any] = {"embed_dim": 896, "num_heads": 14, "layer_scale": 1e-5}

VARIANTS = {
    "vit_tiny_patch8_224": ViTConfig(patch_size=8, **TINY),
    "vit_tiny_patch14_224": ViTConfig(patch_size=14, **TINY),
    "vit_tiny_patch16_224": ViTConfig(patch_size=16, **TINY),
    "vit_tiny_patch16_384": ViTConfig(patch_size=16, image_size=384, **TINY),
    "vit_tiny_patch32_224": ViTConfig(patch_size=32, **TINY),
    "vit_small_patch8_224": ViTConfig(patch_size=8, **SMALL),
    "vit_small_patch14_224": ViTConfig(patch_size=14, **SMALL),
    "vit_small_patch16_224": ViTConfig(patch_size=16, **SMALL),
    "vit_small_patch16_384": ViTConfig(patch_size=16, image_size=384, **SMALL),
    "vit_small_patch32_224": ViTConfig(patch_size=32, **SMALL),
    "vit_small_patch32_384": ViTConfig(patch_size=32, image_size=384, **SMALL),
    "vit_base_patch8_224": ViTConfig(patch_size=8),
    "vit_base_patch14_224": ViTConfig(patch_size=14),
    "vit_base_patch16_224": ViTConfig(),
    "vit_base_patch16_384": ViTConfig(image_size=384),
    "vit_base_patch32_224": ViTConfig(patch_size=32),
    "vit_base_patch32_384": ViTConfig(patch_size=32, image_size=384),
    "vit_large_patch8_224": ViTConfig(patch_size=8, **LARGE),
    "vit_large_patch14_224": ViTConfig(patch_size=14, **LARGE),
    "vit_large_patch16_224": ViTConfig(patch_size=16, **LARGE),
    "vit_large_patch16_384": ViTConfig(patch_size=16, image_size=384, **LARGE),
    "vit_large_patch32_224": ViTConfig(patch_size=32, **LARGE),
    "vit_large_patch32_384": ViTConfig(patch_size=32, image_size=384, **LARGE),
    "vit_huge_patch8_224": ViTConfig(patch_size=8, **HUGE),
    "vit_huge_patch14_224": ViTConfig(patch_size=14, **HUGE),
    "vit_huge_patch16_224": ViTConfig(patch_size=16, **HUGE),
    "vit_huge_patch32_224": ViTConfig(patch_size=32, **HUGE),
    "vit_giant_patch14_224": ViTConfig(patch_size=14, **GIANT),
    "vit_gigantic_patch14_224": ViTConfig(patch_size=14, **GIGANTIC),
    "vit_base_patch16_plus_240": ViTConfig(image_size=240, **PLUS),
    "vit_base_patch32_plus_256": ViTConfig(patch_size=32, image_size=256, **PLUS),
    "eva_large_patch14_196": ViTConfig(patch_size=14, image_size=196, pool="mean", **LARGE),
    "eva_large_patch14_336": ViTConfig(patch_size=14, image_size=336, pool="mean", **LARGE),
}

PAPER_NAMES = (
    (r"vit", "vit_base_patch16_224"),
    (r"vit-(h|huge)(-?14)?(-<image>)?", "vit_huge_patch14_{image:224}"),
    (r"vit-<size>(-?<patch>)?(-<image>)?", "vit_{size}_patch{patch:16}_{image:224}"),
)
