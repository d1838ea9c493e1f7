"""LeViT (Graham et al., 2021, "LeViT: a vision transformer in ConvNet's clothing for faster inference").

A convolutional stem and three stages on small grids. All norms are batch norms, which can be folded into the linear
layers after training; keys are narrow, and an attention between stages reduces the grid.
"""

from dataclasses import dataclass
from functools import partial

from torch import nn

from ..nn import (
    MLP,
    Block,
    CoarseQueries,
    DistanceBias,
    Encoder,
    Head,
    LinearNorm,
    MeanPool,
    MultiHeadAttention,
    NormedProjection,
    NormLinear,
    PooledDistilledHead,
    Residual,
    ShrinkingAttention,
    Stage,
    StridedStem,
    VisionModel,
    coarser,
)
from .fields import ClassifierFields, pair

# Between stages, values are twice as wide as inside them, and the MLP ratio is fixed (table 1).
_SHRINKING_VALUE_RATIO, _SHRINKING_MLP_RATIO = 4, 2


@dataclass(frozen=True, kw_only=True, slots=True)
class LeViTConfig(ClassifierFields):
    """LeViT: three stages, each with half the grid of the one before.

    Attributes:
        embed_dims, depths, num_heads: width, number of blocks and heads of each stage.
        key_dim: width of the queries and keys of a head.
        value_ratio: width of the values of a head, in units of `key_dim`.
        drop_path: rate of stochastic depth, the same in all blocks.
        distilled: add a second classifier, which is trained on a teacher's outputs.
    """

    embed_dims: tuple[int, ...] = (128, 256, 384)
    depths: tuple[int, ...] = (4, 4, 4)
    num_heads: tuple[int, ...] = (4, 8, 12)
    key_dim: int = 16
    value_ratio: float = 2.0
    mlp_ratio: float = 2.0
    drop_path: float = 0.0
    distilled: bool = True

    def build(self) -> VisionModel["LeViTConfig"]:
        first = self.embed_dims[0]
        embed = StridedStem(self.in_channels, (first // 8, first // 4, first // 2, first), nn.Hardswish)
        grid, stages = embed.grid(pair(self.image_size)), []
        for index, depth in enumerate(self.depths):
            reduce = self.shrink(index, grid) if index else None
            grid = coarser(grid) if index else grid
            stages.append(Stage([self.block(index, grid) for _ in range(depth)], reduce=reduce))
        return VisionModel(embed=embed, encoder=Encoder(stages), head=self.head(), config=self)

    def block(self, stage: int, grid: tuple[int, int]) -> Block:
        dim, heads, value_dim = self.embed_dims[stage], self.num_heads[stage], int(self.key_dim * self.value_ratio)
        attention = MultiHeadAttention(
            dim,
            heads,
            qkv=NormedProjection(dim, heads, key_dim=self.key_dim, value_dim=value_dim),
            bias=DistanceBias(grid, heads),
            project=nn.Sequential(nn.Hardswish(), LinearNorm(heads * value_dim, dim, scale=0.0)),
        )
        return Block(attention=self.residual(attention), mlp=self.residual(self.mlp(dim, self.mlp_ratio)))

    def shrink(self, stage: int, grid: tuple[int, int]) -> Block:
        """Reduction before a stage. Its number of heads is the previous width over `key_dim`; it has no residual."""
        before, dim = self.embed_dims[stage - 1], self.embed_dims[stage]
        heads, value_dim = before // self.key_dim, self.key_dim * _SHRINKING_VALUE_RATIO
        attention = MultiHeadAttention(
            before,
            heads,
            qkv=CoarseQueries(before, heads, key_dim=self.key_dim, value_dim=value_dim),
            bias=DistanceBias(grid, heads, stride=2),
            project=nn.Sequential(nn.Hardswish(), LinearNorm(heads * value_dim, dim)),
        )
        return Block(attention=ShrinkingAttention(attention), mlp=self.residual(self.mlp(dim, _SHRINKING_MLP_RATIO)))

    def residual(self, branch: nn.Module) -> Residual:
        return Residual(nn.Identity(), branch, drop_path=self.drop_path)

    def mlp(self, dim: int, ratio: float) -> MLP:
        """MLP with two normed layers; the second norm starts at zero, so that every block starts as the identity."""
        hidden = int(dim * ratio)
        return MLP(
            dim,
            hidden,
            activation=nn.Hardswish,
            expand=LinearNorm(dim, hidden),
            contract=LinearNorm(hidden, dim, scale=0.0),
        )

    def head(self) -> nn.Module:
        classifier = partial(NormLinear, self.embed_dims[-1], self.num_classes) if self.num_classes else nn.Identity
        if self.distilled and self.num_classes:
            return PooledDistilledHead(MeanPool(), classifier(), classifier())
        return Head(MeanPool(), classifier())


VARIANTS = {
    "levit_128s": LeViTConfig(depths=(2, 3, 4), num_heads=(4, 6, 8)),
    "levit_128": LeViTConfig(),
    "levit_192": LeViTConfig(embed_dims=(192, 288, 384), num_heads=(3, 5, 6), key_dim=32),
    "levit_256": LeViTConfig(embed_dims=(256, 384, 512), num_heads=(4, 6, 8), key_dim=32),
    "levit_384": LeViTConfig(embed_dims=(384, 512, 768), num_heads=(6, 9, 12), key_dim=32),
}

PAPER_NAMES = ((r"levit-<number>(?P<s>s?)", "levit_{number}{s}"),)
