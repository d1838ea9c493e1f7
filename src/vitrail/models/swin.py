"""Swin Transformer (Liu et al., 2021, "Swin Transformer: hierarchical vision transformer using shifted windows").

ViT with four stages and attention inside windows, which every other block shifts by half a window.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..nn import (
    MLP,
    Block,
    Embedding,
    Encoder,
    Head,
    LocalAttention,
    MeanPool,
    MultiHeadAttention,
    PatchEmbed,
    PatchMerging,
    PerToken,
    RelativeBias,
    Stage,
    VisionModel,
    init_vit,
)
from .fields import ClassifierFields, Size, pair
from .parts import classifier, pre_norm, stage_rates

Cells = tuple[int, int]
"""(rows, columns) of a grid."""


@dataclass(frozen=True, kw_only=True)
class WindowPyramid(ClassifierFields):
    """Base class of Swin and Swin V2: stages with windows, each with half the grid and twice the width of the last.

    Attributes:
        patch_size, mlp_ratio, drop_path, dropout, norm_eps, pad: as in `ViTConfig`.
        embed_dim: width of the first stage.
        depths, num_heads: number of blocks and heads of each stage.
        window_size: side of the windows in tokens; a stage whose grid is not larger has one window. Windows are shifted
        where the grid of the image that comes is larger than they are.
        pad_first: see `LocalAttention`; True for weights of torchvision and transformers.
    """

    __slots__ = ()

    patch_size: Size = 4
    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    window_size: int = 7
    mlp_ratio: float = 4.0
    drop_path: float = 0.0
    dropout: float = 0.0
    norm_eps: float = 1e-5
    pad: bool = False
    pad_first: bool = False

    @abstractmethod
    def block(self, stage: int, number: int, dim: int, window: Cells, shift: Cells, drop_path: float) -> Block:
        """Build block `number` of a stage, with windows of this size, shifted by `shift`."""

    @abstractmethod
    def merge(self, dim: int) -> nn.Module:
        """Build the reduction between two stages: Tokens -> Tokens with half the grid and twice the width."""

    def build(self) -> VisionModel["WindowPyramid"]:
        """Patches, stages, a norm, the mean. Every other block is shifted."""
        dim = self.embed_dim
        patches = PatchEmbed(self.in_channels, dim, pair(self.patch_size), pad=self.pad)
        first = nn.LayerNorm(dim, eps=self.norm_eps)
        grid, stages = patches.grid(pair(self.image_size)), []
        for index, rates in enumerate(stage_rates(self.drop_path, self.depths)):
            reduce = None
            if index:
                grid = math.ceil(grid[0] / 2), math.ceil(grid[1] / 2)
                reduce = self.merge(dim)
                dim *= 2
            window, _ = fit_window(self.window_size, grid)
            shift = window[0] // 2, window[1] // 2  # dropped on grids that are not larger than the window
            blocks = [
                self.block(index, number, dim, window, shift if number % 2 else (0, 0), rate)
                for number, rate in enumerate(rates)
            ]
            stages.append(Stage(blocks, reduce=reduce))
        model = VisionModel(
            embed=Embedding(patches, norm=PerToken(first)),
            encoder=Encoder(stages, norm=nn.LayerNorm(dim, eps=self.norm_eps)),
            head=Head(MeanPool(), classifier(dim, self.num_classes)),
            config=self,
        )
        return model.apply(init_vit)


@dataclass(frozen=True, kw_only=True, slots=True)
class SwinConfig(WindowPyramid):
    """Swin: norms before the branches, and a table of relative positions in each block."""

    def block(self, stage: int, number: int, dim: int, window: Cells, shift: Cells, drop_path: float) -> Block:
        heads = self.num_heads[stage]
        inner = MultiHeadAttention(dim, heads, bias=RelativeBias(window, heads), dropout=self.dropout)
        windows = LocalAttention(inner, window, shift, pad_first=self.pad_first)
        mlp = MLP(dim, int(dim * self.mlp_ratio), dropout=self.dropout)
        return Block(
            attention=pre_norm(dim, windows, drop_path=drop_path, norm_eps=self.norm_eps),
            mlp=pre_norm(dim, mlp, drop_path=drop_path, norm_eps=self.norm_eps),
        )

    def merge(self, dim: int) -> PatchMerging:
        return PatchMerging(dim, 2 * dim, norm_eps=self.norm_eps)


def fit_window(side: int, grid: Cells) -> tuple[Cells, Cells]:
    """Window and shift of a stage; if the grid is not larger than the window, it is one window without a shift."""
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

PAPER_NAMES = (
    (r"swin", "swin_tiny_patch4_window7_224"),
    (r"swin-<size>(-224)?", "swin_{size}_patch4_window7_224"),
    (r"swin-<size>-384", "swin_{size}_patch4_window12_384"),
)
