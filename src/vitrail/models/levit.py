"""LeViT (Graham et al., 2021, "LeViT: a vision transformer in ConvNet's clothing for faster inference").

A pyramid of three small grids behind a convolutional stem. Everything is normed by batches, so that no norm is left
to compute once training is over; keys are narrow, and attention itself shrinks the grid.
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

# Between stages values are twice as wide as inside them, and the MLP is what it is (table 1).
_SHRINKING_VALUE_RATIO, _SHRINKING_MLP_RATIO = 4, 2


@dataclass(frozen=True, kw_only=True, slots=True)
class LeViTConfig(ClassifierFields):
    """Three stages; each halves the grid of the one before.

    Attributes:
        embed_dims, depths, num_heads: width, blocks and heads of each stage.
        key_dim: width of a head's queries and keys.
        value_ratio: a head's values are this many times as wide.
        drop_path: rate of all blocks alike.
        distilled: a second classifier, which learns from a teacher.
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
        """From the stage before: as many heads as its width has keys, and no residual around the attention."""
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
        """Both layers normed; the second starts at zero, so that every block starts as the identity."""
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
        if self.distilled:
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
