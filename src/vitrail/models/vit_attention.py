"""ViT with other attentions, to compare their cost and accuracy with all else equal.

These are not published models: ViT's blocks have attentions of `nn.sparse`, `nn.linear` or `nn.relative` in place of
its own. The class token attends to all tokens, and all attend to it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from ..errors import VitrailError, nearest
from ..nn import (
    MLP,
    AxialAttention,
    Block,
    EluFeatures,
    Embedding,
    Encoder,
    FirstToken,
    Head,
    LinearAttention,
    NeighbourhoodAttention,
    Pattern,
    PrefixTokens,
    RandomFeatures,
    RelativePositionAttention,
    SparseAttention,
    VisionModel,
    init_vit,
    linear_rates,
)
from ..nn.attention import pattern
from .fields import PositionedFields, ViTFields, pair
from .parts import classifier, learned_positions, patch_embed, pre_norm
from .swin import fit_window
from .vit import SMALL, TINY
from .words import AttentionKind


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionViTConfig(ViTFields, PositionedFields):
    """A ViT with the attention that `attention` names.

    Attributes:
        attention: "local", "neighbourhood", "axial", "strided", "sparse", "linear", "performer" or "relative".
        window_size: side of the windows ("local") and neighbourhoods ("neighbourhood"), in tokens.
        block_size: number of tokens in a block ("sparse").
        num_features: number of random features of a head ("performer").
    """

    attention: AttentionKind
    window_size: int = 7
    block_size: int = 16
    num_features: int = 256

    def build(self) -> VisionModel["AttentionViTConfig"]:
        if self.attention not in ATTENTIONS:
            raise VitrailError(f"there is no attention {self.attention!r}: {nearest(self.attention, ATTENTIONS)}")
        dim = self.embed_dim
        patches = patch_embed(self)
        grid, positions = patches.grid(pair(self.image_size)), learned_positions(self, patches, prefix=1)
        rates = linear_rates(self.drop_path, self.depth)
        blocks = [self.block(number, rate, grid) for number, rate in enumerate(rates)]
        model = VisionModel(
            embed=Embedding(patches, prefix=PrefixTokens(dim), positions=positions),
            encoder=Encoder(blocks, norm=nn.LayerNorm(dim, eps=self.norm_eps)),
            head=Head(FirstToken(), classifier(dim, self.num_classes)),
            config=self,
        )
        return model.apply(init_vit)

    @property
    def period(self) -> int:
        return 2  # windows and shifted windows, near and far tokens

    def block(self, number: int, drop_path: float, grid: tuple[int, int]) -> Block:
        branches = ATTENTIONS[self.attention](self, number, grid)
        branches["mlp"] = MLP(self.embed_dim, int(self.embed_dim * self.mlp_ratio), dropout=self.dropout)
        residual = partial(pre_norm, self.embed_dim, drop_path=drop_path, norm_eps=self.norm_eps)
        return Block(**{name: residual(branch) for name, branch in branches.items()})

    def sparse(self, shown: Pattern) -> dict[str, nn.Module]:
        return {"attention": SparseAttention(self.embed_dim, self.num_heads, shown, dropout=self.dropout)}

    def linear(self, features: nn.Module) -> dict[str, nn.Module]:
        return {"attention": LinearAttention(self.embed_dim, self.num_heads, features, dropout=self.dropout)}


Branches = Callable[[AttentionViTConfig, int, tuple[int, int]], dict[str, nn.Module]]
"""(config, number of the block, grid) -> residuals before the block's MLP, by name."""


def local(config: AttentionViTConfig, number: int, grid: tuple[int, int]) -> dict[str, nn.Module]:
    """Windows, shifted by half of their side in every other block."""
    window, shift = fit_window(config.window_size, grid)
    return config.sparse(partial(pattern.windows, window=window, shift=shift if number % 2 else (0, 0)))


def neighbourhood(config: AttentionViTConfig, number: int, grid: tuple[int, int]) -> dict[str, nn.Module]:
    dim, heads = config.embed_dim, config.num_heads
    return {"attention": NeighbourhoodAttention(dim, heads, config.window_size, dropout=config.dropout)}


def axial(config: AttentionViTConfig, number: int, grid: tuple[int, int]) -> dict[str, nn.Module]:
    """Rows, then columns, each with its own projections and residual."""
    attention = partial(AxialAttention, config.embed_dim, config.num_heads, dropout=config.dropout)
    return {"rows": attention(axis=-1), "columns": attention(axis=-2)}


def strided(config: AttentionViTConfig, number: int, grid: tuple[int, int]) -> dict[str, nn.Module]:
    """In turns: the tokens within a row's length, and the tokens at multiples of a row's length."""
    far = partial(pattern.strided, stride=grid[1])
    return config.sparse(far if number % 2 else partial(pattern.band, reach=grid[1]))


def sparse(config: AttentionViTConfig, number: int, grid: tuple[int, int]) -> dict[str, nn.Module]:
    """Big Bird, with other random blocks in every block."""
    return config.sparse(partial(pattern.big_bird, block=config.block_size, seed=number))


def linear(config: AttentionViTConfig, number: int, grid: tuple[int, int]) -> dict[str, nn.Module]:
    return config.linear(EluFeatures())


def performer(config: AttentionViTConfig, number: int, grid: tuple[int, int]) -> dict[str, nn.Module]:
    return config.linear(RandomFeatures(config.embed_dim // config.num_heads, config.num_features))


def relative(config: AttentionViTConfig, number: int, grid: tuple[int, int]) -> dict[str, nn.Module]:
    return {"attention": RelativePositionAttention(config.embed_dim, config.num_heads, grid, dropout=config.dropout)}


ATTENTIONS: dict[AttentionKind, Branches] = {
    "local": local,
    "neighbourhood": neighbourhood,
    "axial": axial,
    "strided": strided,
    "sparse": sparse,
    "linear": linear,
    "performer": performer,
    "relative": relative,
}

VARIANTS = {
    f"vit_{name}_{size}_patch16_224": AttentionViTConfig(attention=name, **fields)
    for name in ATTENTIONS
    for size, fields in (("tiny", TINY), ("small", SMALL), ("base", {}))
}
