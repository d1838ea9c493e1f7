"""Sparse attention: every pattern at the cost of its allowed keys."""

from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..tokens import Tokens
from .attend import KernelAttend
from .multi_head import MultiHeadAttention
from .pattern import Groups, Pattern, along, big_bird, minus_infinity, neighbourhood


class SparseAttention(MultiHeadAttention):
    """Attention from every token to the tokens of a sparse pattern. Tokens -> Tokens.

    Prefix tokens attend to all tokens, and all attend to them. The parameters are those of `MultiHeadAttention`, under
    the same names, so that a ViT's weights can be loaded.

    Args:
        dim, num_heads, dropout: as in `MultiHeadAttention`.
        pattern: one of `nn/attention/pattern.py`, with its options; by default blocks of 16 tokens that attend to near,
            leading and random blocks, `partial(big_bird, block=16)`.
    """

    def __init__(self, dim: int, num_heads: int, pattern: Pattern | None = None, *, dropout: float = 0.0) -> None:
        groups = GroupsOf(pattern or partial(big_bird, block=16))
        super().__init__(dim, num_heads, bias=groups, attend=GroupedAttend(), dropout=dropout)


class NeighbourhoodAttention(SparseAttention):
    """Attention from every token to the side × side tokens around it. Tokens -> Tokens.

    Hassani et al. (2023), "Neighborhood attention transformer"; see `pattern.neighbourhood`.

    Args:
        dim, num_heads, dropout: as in `MultiHeadAttention`.
        side: side of the neighbourhood in tokens.
        dilation: distance of the tokens of a neighbourhood.
    """

    def __init__(self, dim: int, num_heads: int, side: int = 7, *, dilation: int = 1, dropout: float = 0.0) -> None:
        super().__init__(dim, num_heads, partial(neighbourhood, side=side, dilation=dilation), dropout=dropout)


class AxialAttention(SparseAttention):
    """Attention along one axis of the grid (Ho et al., 2019). Tokens -> Tokens.

    A block has one inside rows (axis -1), then one inside columns (axis -2), each with its own residual.

    Args:
        dim, num_heads, dropout: as in `MultiHeadAttention`.
        axis: axis of the grid along which a token attends.
    """

    def __init__(self, dim: int, num_heads: int, axis: int = -1, *, dropout: float = 0.0) -> None:
        super().__init__(dim, num_heads, partial(along, axis=axis), dropout=dropout)


class GroupsOf(nn.Module):
    """The `Groups` of a pattern, as the bias of `GroupedAttend`: Tokens -> Groups."""

    def __init__(self, pattern: Pattern) -> None:
        super().__init__()
        self.pattern = pattern

    def forward(self, tokens: Tokens) -> Groups:
        return self.pattern(tokens.grid, tokens.x.device).behind(tokens.prefix)


class MaskOf(nn.Module):
    """The dense mask of a pattern, a bias for any attention: Tokens -> (N, N), 0 or minus infinity."""

    def __init__(self, pattern: Pattern) -> None:
        super().__init__()
        self.groups = GroupsOf(pattern)

    def forward(self, tokens: Tokens) -> Float[Tensor, "N N"]:
        return self.groups(tokens).bias(tokens.x.shape[1], tokens.x.dtype)


class GroupedAttend(KernelAttend):
    """Softmax attention over the keys that `Groups` allow, group by group: cost G n m instead of N².

    `forward` takes the groups in place of the bias; `weights` takes their dense mask, `Groups.bias`.
    """

    def forward(
        self,
        q: Float[Tensor, "B h N d"],
        k: Float[Tensor, "B h N d"],
        v: Float[Tensor, "B h N e"],
        bias: Groups,
    ) -> Float[Tensor, "B h N e"]:
        every, queries = bias.everywhere, bias.queries
        keys = torch.cat([every.expand(queries.shape[0], -1), bias.keys], dim=1)
        parts = _gathered(q, queries), _gathered(k, keys), _gathered(v, keys)
        inside = self.kernel(*parts, _scores(bias, q.dtype))
        inside = inside.unflatten(1, (-1, q.shape[1])).permute(1, 2, 0, 3, 4).flatten(2, 3)
        out = torch.cat([self.kernel(q.index_select(2, every), k, v, None), inside], dim=2)
        return out.index_select(2, bias.order(q.shape[2]))


def _gathered(x: Float[Tensor, "B h N d"], index: Int[Tensor, "G n"]) -> Float[Tensor, "G Bh n d"]:
    # Groups are the first axis and images are joined with heads, so that masks of groups broadcast without a copy.
    parts = x.index_select(2, index.flatten()).unflatten(2, index.shape)
    return parts.permute(2, 0, 1, 3, 4).flatten(1, 2)


def _scores(groups: Groups, dtype: torch.dtype) -> Float[Tensor, "G 1 n m"] | None:
    """Bias of each group, with the keys of `everywhere` first."""
    if groups.allowed is None:
        return None
    return F.pad(minus_infinity(groups.allowed, dtype), (groups.everywhere.shape[0], 0)).unsqueeze(1)
