"""LeViT's attention: narrow keys, wide values, a bias for each distance, and queries from a coarser grid."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, fx, nn

from ..batch_norm import LinearNorm
from ..embed.positions import resample_positions
from ..tokens import Tokens
from .places import Places, numbers
from .projections import QKV, heads_of


class NormedProjection(nn.Module):
    """Queries, keys and values by one `LinearNorm`, head by head (Graham et al., 2021, "LeViT", section 4.3).

    Args:
        dim: width D of the tokens.
        num_heads: heads h.
        key_dim, value_dim: widths of a head.
    """

    def __init__(self, dim: int, num_heads: int, *, key_dim: int, value_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.widths = (key_dim, key_dim, value_dim)
        self.joint = LinearNorm(dim, num_heads * sum(self.widths))

    def forward(self, tokens: Tokens) -> QKV:
        q, k, v = heads_of(self.joint(tokens.x), self.num_heads).split(self.widths, dim=-1)
        return q, k, v


class CoarseQueries(nn.Module):
    """`NormedProjection` with queries only from every `stride`-th row and column ("LeViT", section 4.2)."""

    def __init__(self, dim: int, num_heads: int, *, key_dim: int, value_dim: int, stride: int = 2) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.stride = stride
        self.widths = (key_dim, value_dim)
        self.queries = LinearNorm(dim, num_heads * key_dim)
        self.joint = LinearNorm(dim, num_heads * sum(self.widths))

    def forward(self, tokens: Tokens) -> QKV:
        image = tokens.x.unflatten(1, tokens.grid)[:, :: self.stride, :: self.stride]
        q = heads_of(self.queries(image.flatten(1, 2)), self.num_heads)
        k, v = heads_of(self.joint(tokens.x), self.num_heads).split(self.widths, dim=-1)
        return q, k, v


class ShrinkingAttention(nn.Module):
    """Attention with `CoarseQueries`, which reduces the grid by their stride. Tokens -> Tokens."""

    def __init__(self, attention: nn.Module, stride: int = 2) -> None:
        super().__init__()
        self.attention = attention
        self.stride = stride

    def forward(self, tokens: Tokens) -> Tokens:
        return self.attention(tokens).with_grid(coarser(tokens.grid, self.stride))

    def places_of(self, tokens: Tokens) -> Places:
        """Queries are every `stride`-th row and column of the tokens, keys are all tokens."""
        every = numbers(tokens.grid, 0, tokens.x.device)
        return Places(every[:: self.stride, :: self.stride].reshape(1, -1), every.reshape(1, -1))


class DistanceBias(nn.Module):
    """A learned number for each distance (rows, columns) and head ("LeViT", section 4.3).

    Tokens -> (h, N / stride², N). A grid other than the stored one gets the table resampled.

    Args:
        grid: (rows, columns) of the keys.
        num_heads: heads h.
        stride: queries are every `stride`-th row and column.
    """

    def __init__(self, grid: tuple[int, int], num_heads: int, *, stride: int = 1) -> None:
        super().__init__()
        self.grid = grid
        self.stride = stride
        self.table = nn.Parameter(torch.zeros(num_heads, grid[0] * grid[1]))

    def forward(self, tokens: Tokens) -> Float[Tensor, "h M N"]:
        rows, columns = tokens.grid
        down, right = (_distances(length, self.stride, self.table.device) for length in (rows, columns))
        index = down[:, None, :, None] * columns + right[None, :, None, :]
        return self.resampled((rows, columns))[:, index.flatten(2).flatten(0, 1)]

    def resampled(self, grid: tuple[int, int]) -> Float[Tensor, "h N"]:
        """Return the table for another grid."""
        return resample_positions(self.table.t()[None], self.grid, grid, antialias=False)[0].t()


# torch.fx cannot trace code that depends on shapes: calls of these functions are leaves of its graphs.
fx.wrap("resample_positions")


@fx.wrap
def _distances(length: int, stride: int, device: torch.device) -> Int[Tensor, "M N"]:
    place = torch.arange(length, device=device)
    return (place[::stride, None] - place).abs()


def coarser(grid: tuple[int, ...], stride: int = 2) -> tuple[int, int]:
    """Size of the grid of every `stride`-th row and column."""
    rows, columns = grid
    return -(-rows // stride), -(-columns // stride)
