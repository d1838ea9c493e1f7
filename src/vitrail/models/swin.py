"""Swin Transformer (Liu et al., 2021, "Swin Transformer: hierarchical vision transformer using shifted windows").

ViT with attention inside windows, which every other block moves by half a window, on a pyramid of four stages.
"""

import math
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..nn.attention import MultiHeadAttention
from ..nn.embed import Embedding, PatchEmbed
from ..nn.encoder import Block, Encoder, Stage
from ..nn.head import Head, MeanPool
from ..nn.init import init_vit
from ..nn.mlp import MLP
from ..nn.model import VisionModel
from ..nn.reduce import PatchMerging
from ..nn.relative import RelativeBias
from ..nn.residual import Residual, linear_rates
from ..nn.windows import LocalAttention
from .parts import Size, classifier, pair, split


@dataclass(frozen=True, kw_only=True, slots=True)
class SwinConfig:
    """Four stages; each halves the grid of the one before and doubles its width.

    Attributes:
        embed_dim: width of the first stage.
        depths, num_heads: blocks and heads of each stage.
        window_size: side of the windows of each stage; a stage whose grid is no larger has one window, and no shift.
        other fields: as in `ViTConfig`.
    """

    image_size: Size = 224
    patch_size: Size = 4
    in_channels: int = 3
    num_classes: int = 1000
    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    window_size: int | tuple[int, ...] = 7
    mlp_ratio: float = 4.0
    drop_path: float = 0.0
    dropout: float = 0.0
    norm_eps: float = 1e-5
    pad: bool = False

    def build(self) -> VisionModel:
        patches = PatchEmbed(self.in_channels, self.embed_dim, pair(self.patch_size), pad=self.pad)
        grid, dim, stages = patches.grid(pair(self.image_size)), self.embed_dim, []
        rates = split(linear_rates(self.drop_path, sum(self.depths)), self.depths)
        sides = self.window_size if isinstance(self.window_size, tuple) else (self.window_size,) * len(self.depths)
        for index, (heads, side) in enumerate(zip(self.num_heads, sides, strict=True)):
            reduce: nn.Module | None = None
            if index:
                reduce = PatchMerging(dim, 2 * dim, norm_eps=self.norm_eps)
                dim, grid = 2 * dim, (math.ceil(grid[0] / 2), math.ceil(grid[1] / 2))
            blocks = [self.block(dim, heads, grid, side, number, rate) for number, rate in enumerate(rates[index])]
            stages.append(Stage(blocks, reduce))
        model = VisionModel(
            embed=Embedding(patches, norm=...),
            encoder=Encoder(stages, norm=nn.LayerNorm(dim, eps=self.norm_eps)),
            head=Head(MeanPool(), classifier(dim, self.num_classes)),
            config=self,
        )
        return model.apply(init_vit)

    def block(
        self, dim: int, num_heads: int, grid: tuple[int, int], side: int, number: int, drop_path: float
    ) -> Block:
        window = min(side, grid[0]), min(side, grid[1])
        moved = [0 if length <= side or number % 2 == 0 else side // 2 for length in grid]
        attention = MultiHeadAttention(dim, num_heads, bias=RelativeBias(window, num_heads), dropout=self.dropout)

        def residual(branch: nn.Module) -> Residual:
            return Residual(nn.LayerNorm(dim, eps=self.norm_eps), branch, drop_path=drop_path)

        return Block(
            attention=residual(LocalAttention(attention, window, (moved[0], moved[1]))),
            mlp=residual(MLP(dim, int(dim * self.mlp_ratio), dropout=self.dropout)),
        )


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
