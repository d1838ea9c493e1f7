"""Swin Transformer (Liu et al., 2021, "Swin Transformer: hierarchical vision transformer using shifted windows").

ViT with attention inside windows, which every other block moves by half a window, on a pyramid of four stages.
"""

import math
from dataclasses import dataclass
from typing import Any

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
        patches = PatchEmbed(self.in_channels, self.embed_dim, pair(self.patch_size), pad=self.pad)
        first = nn.LayerNorm(self.embed_dim, eps=self.norm_eps)
        grid, dim = patches.grid(pair(self.image_size)), self.embed_dim
        stages = [Stage(self.blocks(0, dim, grid))]
        for index in range(1, len(self.depths)):
            grid = math.ceil(grid[0] / 2), math.ceil(grid[1] / 2)
            reduce = PatchMerging(dim, 2 * dim, norm_eps=self.norm_eps)
            dim *= 2
            stages.append(Stage(self.blocks(index, dim, grid), reduce=reduce))
        model = VisionModel(
            embed=Embedding(patches, norm=PerToken(first)),
            encoder=Encoder(stages, norm=nn.LayerNorm(dim, eps=self.norm_eps)),
            head=Head(MeanPool(), classifier(dim, self.num_classes)),
            config=self,
        )
        return model.apply(init_vit)

    def blocks(self, stage: int, dim: int, grid: tuple[int, int]) -> list[Block]:
        rates = stage_rates(self.drop_path, self.depths)[stage]
        heads = self.num_heads[stage]
        window, shift = fit_window(self.window_size, grid)

        def attention(number: int) -> LocalAttention:
            inner = MultiHeadAttention(dim, heads, bias=RelativeBias(window, heads), dropout=self.dropout)
            return LocalAttention(inner, window, shift if number % 2 else (0, 0))

        return [
            Block(
                attention=pre_norm(dim, attention(number), drop_path=rate, norm_eps=self.norm_eps),
                mlp=pre_norm(dim, self.mlp(dim), drop_path=rate, norm_eps=self.norm_eps),
            )
            for number, rate in enumerate(rates)
        ]

    def mlp(self, dim: int) -> MLP:
        return MLP(dim, int(dim * self.mlp_ratio), dropout=self.dropout)


def fit_window(side: int, grid: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
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
