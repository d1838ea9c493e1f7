"""VideoMAE (Tong et al., 2022, "VideoMAE: masked autoencoders are data-efficient learners", sections 3.1 and 3.2).

ViT on tubelets: every token, of any frame, looks at every other. Sines along the sequence say which is which; the
mean over all tokens is normed and classified.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from ..nn.attention import MultiHeadAttention
from ..nn.embed import Embedding, TubeletEmbed
from ..nn.encoder import Block, Encoder
from ..nn.head import Head, MeanPool
from ..nn.init import init_vit
from ..nn.mlp import MLP
from ..nn.model import VisionModel
from ..nn.positions import SinusoidalPositions
from ..nn.projections import JointProjectionWithoutKeyBias
from ..nn.residual import linear_rates
from .parts import Size, classifier, pair, pre_norm
from .vit import HUGE, LARGE, SMALL


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoMAEConfig:
    """A ViT for videos, (B, C, T, H, W).

    Attributes:
        num_frames: T of the videos; must be a multiple of `tubelet_frames`.
        tubelet_frames: how many frames a token spans.
        pool_norm_eps: what the norm behind the pooling adds to the variance (transformers' weights expect 1e-5).
        position_grid: (deep, rows, columns) whose sines are resampled to the grid at hand; where it is not given they
            are computed for the grid at hand, as published.
        other fields: as in `ViTConfig`.
    """

    image_size: Size = 224
    num_frames: int = 16
    patch_size: Size = 16
    tubelet_frames: int = 2
    in_channels: int = 3
    num_classes: int = 400
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    drop_path: float = 0.0
    dropout: float = 0.0
    norm_eps: float = 1e-6
    pool_norm_eps: float = 1e-6
    pad: bool = False
    position_mode: str = "bicubic"
    position_antialias: bool = True
    position_grid: tuple[int, int, int] | None = None

    def build(self) -> VisionModel:
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
        residual = partial(pre_norm, dim, drop_path=drop_path, norm_eps=self.norm_eps)
        qkv = JointProjectionWithoutKeyBias(dim, heads)
        return Block(
            attention=residual(MultiHeadAttention(dim, heads, qkv=qkv, dropout=self.dropout)),
            mlp=residual(MLP(dim, int(dim * self.mlp_ratio), dropout=self.dropout)),
        )


VARIANTS: dict[str, Any] = {
    "videomae_small_patch16_224": VideoMAEConfig(**SMALL),
    "videomae_base_patch16_224": VideoMAEConfig(),
    "videomae_large_patch16_224": VideoMAEConfig(**LARGE),
    "videomae_huge_patch16_224": VideoMAEConfig(**HUGE),
}
