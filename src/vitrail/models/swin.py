"""Swin Transformer (Liu et al., 2021, "Swin Transformer: hierarchical vision transformer using shifted windows").

ViT with attention inside windows, which every other block moves by half a window, on a pyramid of four stages.
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from ..nn.attention import MultiHeadAttention
from ..nn.embed import Embedding, PatchEmbed
from ..nn.encoder import Block, Encoder, PerToken, Stage
from ..nn.head import Head, MeanPool
from ..nn.init import init_vit
from ..nn.mlp import MLP
from ..nn.model import VisionModel
from ..nn.reduce import PatchMerging
from ..nn.relative import RelativeBias
from ..nn.windows import LocalAttention
from .parts import Size, classifier, pair, pre_norm, stage_rates

Cells = tuple[int, int]
"""(rows, columns) of a grid."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SwinConfig:
    """Four stages; each halves the grid of the one before and doubles its width.

    Attributes:
        embed_dim: width of the first stage.
        depths, num_heads: blocks and heads of each stage.
        window_size: side of the windows; a stage whose grid is no larger has one window, and no shift.
        other fields: as in `ViTConfig`.
    """

    image_size: Size = 224
    patch_size: Size = 4
    in_channels: int = 3
    num_classes: int = 1000
    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    window_size: int = 7
    mlp_ratio: float = 4.0
    drop_path: float = 0.0
    dropout: float = 0.0
    norm_eps: float = 1e-5
    pad: bool = False

    def build(self) -> VisionModel:
        return window_pyramid(self)

    def block(self, stage: int, dim: int, window: Cells, shift: Cells, drop_path: float) -> Block:
        heads = self.num_heads[stage]
        inner = MultiHeadAttention(dim, heads, bias=RelativeBias(window, heads), dropout=self.dropout)
        mlp = MLP(dim, int(dim * self.mlp_ratio), dropout=self.dropout)
        return Block(
            attention=pre_norm(dim, LocalAttention(inner, window, shift), drop_path=drop_path, norm_eps=self.norm_eps),
            mlp=pre_norm(dim, mlp, drop_path=drop_path, norm_eps=self.norm_eps),
        )

    def merge(self, dim: int) -> PatchMerging:
        return PatchMerging(dim, 2 * dim, norm_eps=self.norm_eps)


class WindowPyramid(Protocol):
    """What a config says of a pyramid of windows: sizes, the block, and what stands between stages."""

    @property
    def image_size(self) -> Size: ...
    @property
    def patch_size(self) -> Size: ...
    @property
    def in_channels(self) -> int: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def embed_dim(self) -> int: ...
    @property
    def depths(self) -> tuple[int, ...]: ...
    @property
    def window_size(self) -> int: ...
    @property
    def drop_path(self) -> float: ...
    @property
    def norm_eps(self) -> float: ...
    @property
    def pad(self) -> bool: ...
    def block(self, stage: int, dim: int, window: Cells, shift: Cells, drop_path: float) -> Block: ...
    def merge(self, dim: int) -> nn.Module: ...


def window_pyramid(config: WindowPyramid) -> VisionModel:
    """Patches, stages that each halve the grid and double the width, a norm, the mean. Every other block is shifted."""
    dim = config.embed_dim
    patches = PatchEmbed(config.in_channels, dim, pair(config.patch_size), pad=config.pad)
    first = nn.LayerNorm(dim, eps=config.norm_eps)
    grid, stages = patches.grid(pair(config.image_size)), []
    for index, rates in enumerate(stage_rates(config.drop_path, config.depths)):
        reduce = None
        if index:
            grid = math.ceil(grid[0] / 2), math.ceil(grid[1] / 2)
            reduce = config.merge(dim)
            dim *= 2
        window, shift = fit_window(config.window_size, grid)
        blocks = [
            config.block(index, dim, window, shift if number % 2 else (0, 0), rate) for number, rate in enumerate(rates)
        ]
        stages.append(Stage(blocks, reduce=reduce))
    model = VisionModel(
        embed=Embedding(patches, norm=PerToken(first)),
        encoder=Encoder(stages, norm=nn.LayerNorm(dim, eps=config.norm_eps)),
        head=Head(MeanPool(), classifier(dim, config.num_classes)),
        config=config,
    )
    return model.apply(init_vit)


def fit_window(side: int, grid: Cells) -> tuple[Cells, Cells]:
    """The window and the shift of a stage: where the grid is no larger than the window it is one, and stays."""
    (rows, down), (columns, right) = ((side, side // 2) if length > side else (length, 0) for length in grid)
    return (rows, columns), (down, right)


BASE: dict[str, Any] = {"embed_dim": 128, "depths": (2, 2, 18, 2), "num_heads": (4, 8, 16, 32)}
LARGE: dict[str, Any] = {"embed_dim": 192, "depths": (2, 2, 18, 2), "num_heads": (6, 12, 24, 48)}

VARIANTS = {
    "swin_tiny_patch4_window7_224": SwinConfig(),
    "swin_small_patch4_window7_224": SwinConfig(depths=(2, 2, 18, 2)),
    "swin_base_patch4_window7_224": SwinConfig(**BASE),
    "swin_base_patch4_window12_384": SwinConfig(image_size=384, window_size=12, **BASE),
    "swin_large_patch4_window7_224": SwinConfig(**LARGE),
    "swin_large_patch4_window12_384": SwinConfig(image_size=384, window_size=12, **LARGE),
}
