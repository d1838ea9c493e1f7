"""PVT (Wang et al., 2021, "Pyramid Vision Transformer: a versatile backbone for dense prediction").

ViT with four stages, each with its own patches and positions; keys and values are computed for squares of tokens, which
reduces the cost on fine grids. The class token is added in the last stage.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from ..nn import (
    MLP,
    Block,
    Embedding,
    Encoder,
    FirstToken,
    Head,
    LearnedPositions,
    MultiHeadAttention,
    PatchEmbed,
    PerToken,
    PrefixTokens,
    ReducedProjection,
    Reembed,
    Stage,
    StridedReduction,
    VisionModel,
    init_vit,
)
from .fields import ClassifierFields, Size, pair
from .parts import classifier, pre_norm, stage_rates
from .words import Interpolation


@dataclass(frozen=True, kw_only=True)
class PVTFields(ClassifierFields):
    """Fields of four stages on grids of a 4th, an 8th, a 16th and a 32nd of the image's sides.

    Attributes:
        drop_path, dropout, norm_eps: as in `ViTConfig`.
        embed_dims, depths, num_heads, mlp_ratios: width, number of blocks, heads and MLP ratio of each stage.
        reductions: for each stage, side in tokens of the squares that share a key and a value; 1: no reduction.
        conv_norm_eps: `norm_eps` of the norms after strided convolutions.
    """

    __slots__ = ()

    embed_dims: tuple[int, ...] = (64, 128, 320, 512)
    depths: tuple[int, ...] = (2, 2, 2, 2)
    num_heads: tuple[int, ...] = (1, 2, 5, 8)
    mlp_ratios: tuple[float, ...] = (8.0, 8.0, 4.0, 4.0)
    reductions: tuple[int, ...] = (8, 4, 2, 1)
    drop_path: float = 0.0
    dropout: float = 0.0
    norm_eps: float = 1e-6
    conv_norm_eps: float = 1e-5


@dataclass(frozen=True, kw_only=True, slots=True)
class PVTConfig(PVTFields):
    """PVT: a pyramid of ViTs.

    Attributes:
        patch_size: patch size of the first stage, in pixels; later stages take 2×2 tokens, and pad odd grids with
        zeros.
        pad, position_mode, position_antialias: as in `ViTConfig`.
    """

    patch_size: Size = 4
    pad: bool = False
    position_mode: Interpolation = "bilinear"
    position_antialias: bool = False

    def build(self) -> VisionModel["PVTConfig"]:
        patches = PatchEmbed(self.in_channels, self.embed_dims[0], pair(self.patch_size), pad=self.pad)
        grid = patches.grid(pair(self.image_size))
        embed = self.embedding(patches, 0, grid)
        stages = [Stage(self.blocks(0))]
        for index in range(1, len(self.depths)):
            before, dim = self.embed_dims[index - 1 : index + 1]
            grid = math.ceil(grid[0] / 2), math.ceil(grid[1] / 2)
            inner = self.embedding(PatchEmbed(before, dim, (2, 2), pad=True), index, grid)
            stages.append(Stage(self.blocks(index), reduce=Reembed(inner)))
        dim = self.embed_dims[-1]
        model = VisionModel(
            embed=embed,
            encoder=Encoder(stages, norm=nn.LayerNorm(dim, eps=self.norm_eps)),
            head=Head(FirstToken(), classifier(dim, self.num_classes)),
            config=self,
        )
        return model.apply(init_vit)

    def embedding(self, patches: PatchEmbed, index: int, grid: tuple[int, int]) -> Embedding:
        dim = self.embed_dims[index]
        norm = PerToken(nn.LayerNorm(dim, eps=self.conv_norm_eps))
        last = index == len(self.depths) - 1
        positions = LearnedPositions(
            grid, dim, prefix=int(last), mode=self.position_mode, antialias=self.position_antialias
        )
        if last:
            return Embedding(patches, norm=norm, prefix=PrefixTokens(dim), positions=positions)
        return Embedding(patches, norm=norm, positions=positions)

    def blocks(self, index: int) -> list[Block]:
        dim, heads, ratio = self.embed_dims[index], self.num_heads[index], self.reductions[index]

        def block(rate: float) -> Block:
            reduce = StridedReduction(dim, ratio, norm_eps=self.conv_norm_eps) if ratio > 1 else None
            qkv = ReducedProjection(dim, heads, reduce=reduce)
            mlp = MLP(dim, int(dim * self.mlp_ratios[index]), dropout=self.dropout)
            residual = partial(pre_norm, dim, drop_path=rate, norm_eps=self.norm_eps)
            return Block(
                attention=residual(MultiHeadAttention(dim, heads, qkv=qkv, dropout=self.dropout)), mlp=residual(mlp)
            )

        return [block(rate) for rate in stage_rates(self.drop_path, self.depths)[index]]


SMALL: dict[str, Any] = {"depths": (3, 4, 6, 3)}
MEDIUM: dict[str, Any] = {"depths": (3, 4, 18, 3)}
LARGE: dict[str, Any] = {"depths": (3, 8, 27, 3)}

VARIANTS = {
    "pvt_tiny_224": PVTConfig(),
    "pvt_small_224": PVTConfig(**SMALL),
    "pvt_medium_224": PVTConfig(**MEDIUM),
    "pvt_large_224": PVTConfig(**LARGE),
}

PAPER_NAMES = ((r"pvt-<size>(-224)?", "pvt_{size}_224"),)
