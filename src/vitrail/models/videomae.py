"""VideoMAE (Tong et al., 2022, "VideoMAE: masked autoencoders are data-efficient learners", sections 3.1 and 3.2).

ViT on tubelets: every token attends to every other. Positions are sines along the sequence; the classifier takes the
normed mean over all tokens.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import nn

from ..nn import (
    MLP,
    Block,
    Embedding,
    Encoder,
    Head,
    JoinedTokens,
    JointProjectionWithoutKeyBias,
    MeanPool,
    SinusoidalPositions,
    TubeletEmbed,
    VisionModel,
    init_vit,
    linear_rates,
)
from .fields import BlockFields, BlockWidths, EncoderFields, PositionedFields, ViTFields, pair
from .parts import classifier, pre_norm, vit_attention
from .vit import HUGE, LARGE, SMALL


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoMAEConfig(ViTFields, PositionedFields, BlockFields):
    """VideoMAE's fine-tuned model: a ViT for videos (B, C, T, H, W).

    Attributes:
        num_frames: number of frames T, a multiple of `tubelet_frames`.
        tubelet_frames: number of frames of a token.
        pool: input of the classifier: the "mean" over all tokens, or the "first" token, whose norm is in the encoder
        (transformers' `use_mean_pooling=False`).
        pool_norm: whether the mean has a norm; encoders alone have none (transformers' `VideoMAEModel`).
        pool_norm_eps: epsilon of the norm after the pooling (transformers' weights expect 1e-5).
        position_grid: (frames, rows, columns) of positions to resample to the current grid; None: positions are
        computed for the current grid, as published.
    """

    num_frames: int = 16
    tubelet_frames: int = 2
    num_classes: int = 400
    pool: Literal["mean", "first"] = "mean"
    pool_norm: bool = True
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
        blocks = [
            videomae_block(self, dim, self.block_widths(index), rate)
            for index, rate in enumerate(linear_rates(self.drop_path, self.depth))
        ]
        model = VisionModel(
            embed=Embedding(tubelets, positions=positions),
            encoder=Encoder(blocks, norm=nn.LayerNorm(dim, eps=self.norm_eps) if self.pool == "first" else None),
            head=self.head(),
            config=self,
        )
        return model.apply(init_vit)

    def head(self) -> Head:
        classify = classifier(self.embed_dim, self.num_classes)
        if self.pool == "first":
            return Head(JoinedTokens(1), classify)
        norm = nn.LayerNorm(self.embed_dim, eps=self.pool_norm_eps) if self.pool_norm else None
        return Head(MeanPool(), classify, norm=norm)


def videomae_block(config: EncoderFields, dim: int, widths: BlockWidths, drop_path: float) -> Block:
    """Pre-norm block whose keys have no bias, of the encoder or the decoder.

    Args:
        config: ratio of the MLP, dropout and epsilon.
        dim: width of the tokens.
        widths: heads and MLP.
        drop_path: rate of stochastic depth.
    """
    qkv = JointProjectionWithoutKeyBias(dim, widths.num_heads, head_dim=widths.head_dim)
    attention = vit_attention(dim, widths.num_heads, widths.head_dim, qkv=qkv, dropout=config.dropout)
    mlp = MLP(dim, widths.mlp_dim or int(dim * config.mlp_ratio), dropout=config.dropout)
    residual = partial(pre_norm, dim, drop_path=drop_path, norm_eps=config.norm_eps)
    return Block(attention=residual(attention), mlp=residual(mlp))


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
