"""Attention to some of the keys, at the cost of those: the fast path of every pattern."""

from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..tokens import Tokens
from .attend import KernelAttend
from .multi_head import MultiHeadAttention
from .pattern import Groups, Pattern, along, minus_infinity, neighbourhood


class SparseAttention(MultiHeadAttention):
    """Every token looks at those that a pattern shows it. Tokens -> Tokens.

    Prefix tokens look at all and are looked at by all. The weights are those of `MultiHeadAttention`, under the same
    names: a ViT's fit.

    Args:
        dim, num_heads, dropout: as in `MultiHeadAttention`.
        pattern: one of `pattern`, with its options: `partial(big_bird, block=16)`.
    """

    def __init__(self, dim: int, num_heads: int, pattern: Pattern, *, dropout: float = 0.0) -> None:
        super().__init__(dim, num_heads, bias=GroupsOf(pattern), attend=GroupedAttend(), dropout=dropout)


class NeighbourhoodAttention(SparseAttention):
    """Every token looks at the side × side tokens around it: `pattern.neighbourhood`. Tokens -> Tokens."""

    def __init__(self, dim: int, num_heads: int, side: int, *, dilation: int = 1, dropout: float = 0.0) -> None:
        super().__init__(dim, num_heads, partial(neighbourhood, side=side, dilation=dilation), dropout=dropout)


class AxialAttention(SparseAttention):
    """Every token looks along one axis of the grid: `pattern.along`. Tokens -> Tokens.

    A block has one for the rows (axis -1), then one for the columns (axis -2), each with its own residual.
    """

    def __init__(self, dim: int, num_heads: int, axis: int, *, dropout: float = 0.0) -> None:
        super().__init__(dim, num_heads, partial(along, axis=axis), dropout=dropout)


class GroupsOf(nn.Module):
    """Tokens -> the `Groups` of a pattern, in the place of a bias on the scores, for `GroupedAttend`."""

    def __init__(self, pattern: Pattern) -> None:
        super().__init__()
        self.pattern = pattern

    def forward(self, tokens: Tokens) -> Groups:
        return self.pattern(tokens.grid, tokens.x.device).behind(tokens.prefix)


class MaskOf(nn.Module):
    """Tokens -> the dense mask (N, N) of a pattern, 0 or minus infinity: the reference, with any attention."""

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
    # Groups lead and pictures stand among the heads, so that the groups' masks serve every picture without a copy.
    parts = x.index_select(2, index.flatten()).unflatten(2, index.shape)
    return parts.permute(2, 0, 1, 3, 4).flatten(1, 2)


def _scores(groups: Groups, dtype: torch.dtype) -> Float[Tensor, "G 1 n m"] | None:
    """What is added to the scores of each group, the keys that all see in front."""
    if groups.allowed is None:
        return None
    return F.pad(minus_infinity(groups.allowed, dtype), (groups.everywhere.shape[0], 0)).unsqueeze(1)
