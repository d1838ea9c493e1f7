"""Projections of tokens to queries, keys and values."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..tokens import Tokens

Heads = Float[Tensor, "B h _ _"]
QKV = tuple[Heads, Heads, Heads]


def heads_of(x: Float[Tensor, "B N D"], num_heads: int) -> Float[Tensor, "B h N d"]:
    """Split the channels into heads: (B, N, D) -> (B, h, N, D / h)."""
    return x.unflatten(2, (num_heads, -1)).transpose(1, 2)


def check_heads(dim: int, num_heads: int) -> None:
    """Raise a ValueError unless the width is a multiple of the number of heads."""
    if dim % num_heads:
        raise ValueError(f"embed_dim {dim} is not a multiple of num_heads {num_heads}: choose heads that divide it")


def _apart(
    queries: Tokens,
    tokens: Tokens,
    weight: Float[Tensor, "joint D"],
    bias: Float[Tensor, " joint"] | None,
    num_heads: int,
) -> QKV:
    """Queries of some tokens, keys and values of others, by the rows of a joint projection."""
    rows = weight.shape[0] // 3
    first, rest = (None, None) if bias is None else (bias[:rows], bias[rows:])
    q = heads_of(F.linear(queries.x, weight[:rows], first), num_heads)
    both = F.linear(tokens.x, weight[rows:], rest).unflatten(2, (2, num_heads, -1))
    k, v = both.permute(2, 0, 3, 1, 4).unbind(0)
    return q, k, v


class JointProjection(nn.Linear):
    """One linear layer for queries, keys and values of all tokens (Dosovitskiy et al., 2021, equation 5)."""

    def __init__(self, dim: int, num_heads: int, *, head_dim: int | None = None, bias: bool = True) -> None:
        if head_dim is None:
            check_heads(dim, num_heads)
            head_dim = dim // num_heads
        super().__init__(dim, 3 * num_heads * head_dim, bias=bias)
        self.num_heads = num_heads

    def forward(self, tokens: Tokens, queries: Tokens | None = None) -> QKV:  # type: ignore[override]
        """Queries, keys and values; `queries` are the tokens that have queries, if not all."""
        if queries is not None:
            return _apart(queries, tokens, self.weight, self.bias, self.num_heads)
        joint = super().forward(tokens.x).unflatten(2, (3, self.num_heads, -1))
        q, k, v = joint.permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v


class ReducedProjection(nn.Module):
    """Queries of all tokens, keys and values of fewer (Wang et al., 2021, "PVT", section 3.3).

    Attention then has N × M scores for N queries and M keys.

    Args:
        dim: width D of the tokens.
        num_heads: number of heads h, which divides D.
        reduce: Tokens -> Tokens for keys and values, see `reduce`; None: no reduction.
    """

    def __init__(self, dim: int, num_heads: int, *, reduce: nn.Module | None = None, bias: bool = True) -> None:
        super().__init__()
        check_heads(dim, num_heads)
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim, bias=bias)
        self.reduce = reduce or nn.Identity()
        self.kv = nn.Linear(dim, 2 * dim, bias=bias)

    def forward(self, tokens: Tokens, queries: Tokens | None = None) -> QKV:
        """Queries, keys and values; `queries` are the tokens that have queries, if not all."""
        q = heads_of(self.q((queries or tokens).x), self.num_heads)
        k, v = self.kv(self.reduce(tokens).x).chunk(2, dim=2)
        return q, heads_of(k, self.num_heads), heads_of(v, self.num_heads)


class JointProjectionWithoutKeyBias(nn.Linear):
    """`JointProjection` with a bias for queries and one for values, none for keys (Bao et al., 2022, "BEiT").

    A bias of the keys adds the same number to all scores of a query, which has no effect on the softmax. `bias` has the
    biases of queries and values, (2 h d,).
    """

    def __init__(self, dim: int, num_heads: int, *, head_dim: int | None = None) -> None:
        if head_dim is None:
            check_heads(dim, num_heads)
            head_dim = dim // num_heads
        super().__init__(dim, 3 * num_heads * head_dim, bias=False)
        self.num_heads = num_heads
        self.bias = nn.Parameter(torch.zeros(2 * num_heads * head_dim))

    def forward(self, tokens: Tokens, queries: Tokens | None = None) -> QKV:  # type: ignore[override]
        """Queries, keys and values; `queries` are the tokens that have queries, if not all."""
        query, value = self.bias.chunk(2)
        bias = torch.cat([query, torch.zeros_like(query), value])
        if queries is not None:
            return _apart(queries, tokens, self.weight, bias, self.num_heads)
        joint = F.linear(tokens.x, self.weight, bias).unflatten(2, (3, self.num_heads, -1))
        q, k, v = joint.permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v


class ConvProjection(nn.Module):
    """Queries, keys and values, each convolved before it is projected (Wu et al., 2021, "CvT", section 3.2).

    Args:
        dim: width D of the tokens.
        num_heads: number of heads h, which divides D.
        kernel_size: side of the depthwise convolutions.
        stride: stride of the convolutions of keys and values, M = ⌈H / stride⌉ × ⌈W / stride⌉ and the prefix.
        bias: whether the linear layers have biases.
    """

    def __init__(self, dim: int, num_heads: int, *, kernel_size: int = 3, stride: int = 2, bias: bool = True) -> None:
        super().__init__()
        check_heads(dim, num_heads)
        self.num_heads = num_heads
        self.q = ConvLinear(dim, kernel_size, 1, bias=bias)
        self.k = ConvLinear(dim, kernel_size, stride, bias=bias)
        self.v = ConvLinear(dim, kernel_size, stride, bias=bias)

    def forward(self, tokens: Tokens, queries: Tokens | None = None) -> QKV:
        """Queries, keys and values; `queries` are the prefix tokens that have queries, if not all tokens."""
        query = self.q(tokens) if queries is None else self.q.linear(queries.x)
        q, k, v = (heads_of(part, self.num_heads) for part in (query, self.k(tokens), self.v(tokens)))
        return q, k, v


class ConvLinear(nn.Module):
    """A depthwise convolution and a batch norm on the map, then a linear layer: Tokens -> (B, M, D).

    Prefix tokens have no neighbours, and go through the linear layer only.
    """

    def __init__(self, dim: int, kernel_size: int, stride: int, *, bias: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, kernel_size, stride, kernel_size // 2, groups=dim, bias=False)
        self.norm = nn.BatchNorm2d(dim)
        self.linear = nn.Linear(dim, dim, bias=bias)

    def forward(self, tokens: Tokens) -> Float[Tensor, "B M D"]:
        return self.linear(tokens.with_map(self.norm(self.conv(tokens.map))).x)


class ScaledQueries(nn.Module):
    """Multiply the queries by a factor, for scores that are not divided by √d: (q, k, tokens) -> (q, k)."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, q: Heads, k: Heads, tokens: Tokens) -> tuple[Tensor, Tensor]:
        return q * self.factor, k

    def extra_repr(self) -> str:
        return f"factor={self.factor:g}"


class LinearOfNorm(nn.Linear):
    """Norm of the joined heads, then the output projection (Wang et al., 2022, "Foundation transformers", "sub-LN").

    (B, N, h e) -> (B, N, D).

    Args:
        dim, out_dim: widths h e and D.
        norm: norm of width h e.
    """

    def __init__(self, dim: int, out_dim: int, norm: nn.Module) -> None:
        super().__init__(dim, out_dim)
        self.norm = norm

    def forward(self, x: Float[Tensor, "B N E"]) -> Float[Tensor, "B N D"]:
        return super().forward(self.norm(x))


class PlacedProjection(nn.Linear):
    """As `JointProjection`, with positions added to the tokens for queries and keys, but not for values.

    Positions are added in every block (Carion et al., 2020, "DETR", section 3.2).

    Args:
        positions: Tokens -> Tokens, adds positions.
        head_dim: width of a head; dim / num_heads by default.
    """

    def __init__(self, dim: int, num_heads: int, positions: nn.Module, *, head_dim: int | None = None) -> None:
        if head_dim is None:
            check_heads(dim, num_heads)
            head_dim = dim // num_heads
        super().__init__(dim, 3 * num_heads * head_dim)
        self.num_heads = num_heads
        self.positions = positions

    def forward(self, tokens: Tokens) -> QKV:  # type: ignore[override]
        cut = 2 * self.out_features // 3
        both = F.linear(self.positions(tokens).x, self.weight[:cut], self.bias[:cut])
        q, k = both.chunk(2, dim=2)
        v = F.linear(tokens.x, self.weight[cut:], self.bias[cut:])
        return heads_of(q, self.num_heads), heads_of(k, self.num_heads), heads_of(v, self.num_heads)
