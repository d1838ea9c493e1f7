"""VideoMAE (Tong et al., 2022, "VideoMAE: masked autoencoders are data-efficient learners", sections 3.1 and 3.2).

ViT on tubelets: every token attends to every other. Positions are sines along the sequence; the classifier takes the
normed mean over all tokens.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from ..nn import (
    Block,
    Embedding,
    Encoder,
    Head,
    JointProjectionWithoutKeyBias,
    MeanPool,
    MultiHeadAttention,
    SinusoidalPositions,
    TubeletEmbed,
    VisionModel,
    init_vit,
    linear_rates,
)
from .fields import PositionedFields, ViTFields, pair
from .parts import classifier, vit_residuals
from .vit import HUGE, LARGE, SMALL


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoMAEConfig(ViTFields, PositionedFields):
    """VideoMAE's fine-tuned model: a ViT for videos (B, C, T, H, W).

    Attributes:
        num_frames: number of frames T, a multiple of `tubelet_frames`.
        tubelet_frames: number of frames of a token.
        pool_norm_eps: epsilon of the norm after the pooling (transformers' weights expect 1e-5).
        position_grid: (frames, rows, columns) of positions to resample to the current grid; None: positions are
        computed for the current grid, as published.
    """

    num_frames: int = 16
    tubelet_frames: int = 2
    num_classes: int = 400
    pool_norm_eps: float = 1e-6
    position_grid: tuple[int, int, int] | None = None

    @property
    def pixels_shape(self) -> tuple[int, ...]:
        return (self.in_channels, self.num_frames, *pair(self.image_size))

    def build(self) -> VisionModel["VideoMAEConfig"]:
        dim = self.embed_dim
        tubelets = TubeletEmbed(self.in_channels, dim, (self.tubelet_frames, *pair(self.patch_size)), pad=self.pad)
        tubelets.grid((self.num_frames, *pair(self.image_size)))
        positions = SinusoidalPositions(
            dim, grid=self.position_grid, mode=self.position_mode, antialias=self.position_antialias
        )
        model = VisionModel(
            embed=Embedding(tubelets, positions=positions),
            encoder=Encoder([self.block(rate) for rate in linear_rates(self.drop_path, self.depth)]),
            head=Head(MeanPool(), classifier(dim, self.num_classes), norm=nn.LayerNorm(dim, eps=self.pool_norm_eps)),
            config=self,
        )
        return model.apply(init_vit)

    def block(self, drop_path: float) -> Block:
        dim, heads = self.embed_dim, self.num_heads
        qkv = JointProjectionWithoutKeyBias(dim, heads)
        attention = MultiHeadAttention(dim, heads, qkv=qkv, dropout=self.dropout)
        return Block(**vit_residuals(self, attention, drop_path=drop_path))


VARIANTS: dict[str, Any] = {
    "videomae_small_patch16_224": VideoMAEConfig(**SMALL),
    "videomae_base_patch16_224": VideoMAEConfig(),
    "videomae_large_patch16_224": VideoMAEConfig(**LARGE),
    "videomae_huge_patch16_224": VideoMAEConfig(**HUGE),
}

PAPER_NAMES = (
    (r"videomae", "videomae_base_patch16_224"),
    (r"videomae-(vit-)?<size>", "videomae_{size}_patch16_224"),
)
