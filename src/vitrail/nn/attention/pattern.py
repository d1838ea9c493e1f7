"""Sparse attention patterns: the keys of each query, as pure functions of the grid.

A pattern is a function (grid, device) -> `Groups`. Attention can be computed from its groups in two ways: with the
dense (N, N) mask `Groups.mask`, the reference, or with `sparse.GroupedAttend`, which gathers tokens, attends inside the
groups and scatters the results. A pattern of a grid is a product of patterns of its axes, or a pattern of the
row-by-row sequence.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from math import ceil, prod

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Grid = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of queries and keys: the queries of a group attend to its keys.

    Attributes:
        queries: token indices, each in at least one group; groups shorter than n repeat one of their queries, with the
        same allowed keys.
        keys: token indices; padding is not allowed.
        allowed: which keys of its group a query attends to; None for all.
        everywhere: indices of tokens that attend to all and that all attend to; they are in no group.
    """

    queries: Int[Tensor, "G n"]
    keys: Int[Tensor, "G m"]
    allowed: Bool[Tensor, "G n m"] | None
    everywhere: Int[Tensor, " g"]

    def behind(self, prefix: int) -> "Groups":
        """Return the groups after `prefix` more tokens, which attend to all and which all attend to."""
        lead = torch.arange(prefix, device=self.queries.device)
        everywhere = torch.cat([lead, self.everywhere + prefix])
        return Groups(self.queries + prefix, self.keys + prefix, self.allowed, everywhere)

    def order(self, count: int) -> Int[Tensor, " N"]:
        """Position of each of `count` tokens in `everywhere` followed by the queries of all groups."""
        asked = torch.cat([self.everywhere, self.queries.flatten()])
        places = torch.arange(asked.shape[0], device=asked.device)
        return asked.new_full((count,), asked.shape[0]).scatter_reduce(0, asked, places, "amin")

    def mask(self, count: int) -> Bool[Tensor, "N N"]:
        """Return the groups as a dense mask over `count` tokens, query first."""
        times = torch.zeros(count, count, device=self.queries.device)
        pairs = self.queries[:, :, None], self.keys[:, None, :]
        times = times.index_put(pairs, _allowed(self).float(), accumulate=True)
        return (times > 0).index_fill(0, self.everywhere, True).index_fill(1, self.everywhere, True)

    def bias(self, count: int, dtype: torch.dtype) -> Float[Tensor, "N N"]:
        """Return the dense mask as a bias of the scores: 0 or minus infinity."""
        return minus_infinity(self.mask(count), dtype)


Pattern = Callable[[Grid, torch.device], Groups]


def minus_infinity(allowed: Bool[Tensor, "*any"], dtype: torch.dtype) -> Float[Tensor, "*any"]:
    """0 where allowed, minus infinity elsewhere."""
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill(~allowed, -torch.inf)


# Patterns of a grid: products over its axes.


def windows(grid: Grid, device: torch.device, *, window: Grid, shift: Grid | None = None) -> Groups:
    """Windows of the grid, shifted by `shift` (Liu et al., 2021, "Swin Transformer", section 3.2).

    Windows at the border are cut, not padded and not wrapped around. On grids that are multiples of the window these
    are the windows of `windows.LocalAttention`, whose mask undoes the wrapping.
    """
    shift = shift or (0,) * len(grid)
    return _over_axes(grid, [_tiles(*axis, device) for axis in zip(grid, window, shift, strict=True)])


def neighbourhood(grid: Grid, device: torch.device, *, side: int, dilation: int = 1) -> Groups:
    """The side × side tokens around each token (Hassani et al., 2023, "Neighborhood attention", section 3.1).

    At a border the neighbourhood is moved inwards, so that every query has the same number of keys. With `dilation`
    only every `dilation`-th row and column counts (Hassani and Shi, 2022, "Dilated neighborhood attention").
    """
    return _over_axes(grid, [_neighbours(length, side, dilation, device) for length in grid])


def lattice(grid: Grid, device: torch.device, *, stride: int) -> Groups:
    """Every `stride`-th row and column: for each token, a coarse grid over the whole image.

    The "grid attention" of Tu et al. (2022), "MaxViT", section 3.2.
    """
    return _over_axes(grid, [_residues(length, stride, device) for length in grid])


def along(grid: Grid, device: torch.device, *, axis: int) -> Groups:
    """All tokens on a line along an axis (Ho et al., 2019, "Axial attention in multidimensional transformers")."""
    sides = [length if dim == axis % len(grid) else 1 for dim, length in enumerate(grid)]
    return windows(grid, device, window=tuple(sides))


# Patterns of the row-by-row sequence.


def band(grid: Grid, device: torch.device, *, reach: int) -> Groups:
    """Tokens at a distance of at most `reach`: the local half of Child et al. (2019), section 4.3, bidirectional."""
    length = prod(grid)
    reach = max(1, min(reach, length - 1))
    starts = torch.arange(0, length, reach, device=device)[:, None]
    queries = (starts + torch.arange(reach, device=device)).clamp(max=length - 1)
    keys = starts - reach + torch.arange(3 * reach, device=device)
    near = (queries[:, :, None] - keys[:, None, :]).abs() <= reach
    return _groups(queries, keys.clamp(0, length - 1), near & ((keys >= 0) & (keys < length))[:, None, :])


def strided(grid: Grid, device: torch.device, *, stride: int) -> Groups:
    """Tokens whose distance is a multiple of the stride: the other half of Child et al. (2019), "Generating long
    sequences with sparse transformers", section 4.3, bidirectional."""
    return _residues(prod(grid), stride, device)


def big_bird(
    grid: Grid, device: torch.device, *, block: int, near: int = 3, leading: int = 1, random: int = 3, seed: int = 0
) -> Groups:
    """Blocks of tokens that attend to near, leading and random blocks (Zaheer et al., 2020, "Big Bird", section 2).

    Args:
        block: number of tokens in a block.
        near: number of blocks around the query's own block, with it.
        leading: number of blocks at the start that attend to all and that all attend to ("internal" global tokens).
        random: number of further blocks, which are a function of the seed.
    """
    length = prod(grid)
    count = ceil(length / block)
    own = torch.arange(min(leading, count), count, device=device)[:, None]
    other = torch.arange(count, device=device)
    around = own + torch.arange(near, device=device) - near // 2
    taken = (other < leading) | ((other - own + near // 2 >= 0) & (other - own + near // 2 < near))
    lots = _lots(own, other, seed).masked_fill(taken, 1 << 32)
    drawn, chosen = lots.topk(min(random, count), dim=1, largest=False)
    blocks = torch.cat([around, chosen], dim=1)
    valid = torch.cat([(around >= leading) & (around < count), drawn < 1 << 32], dim=1)
    inside = torch.arange(block, device=device)
    queries = (own * block + inside).clamp(max=length - 1)
    keys = (blocks[:, :, None] * block + inside).flatten(1)
    allowed = valid.repeat_interleave(block, dim=1) & (keys < length)
    everywhere = torch.arange(min(leading * block, length), device=device)
    groups = _groups(queries, keys.clamp(0, length - 1), allowed[:, None, :].expand(-1, block, -1))
    return replace(groups, everywhere=everywhere)


def packed(grid: Grid, device: torch.device, *, lengths: Sequence[int]) -> Groups:
    """Several independent sequences in one: a block-diagonal mask."""
    if sum(lengths) != prod(grid):
        raise ValueError(f"sequences of {sum(lengths)} tokens do not fill a grid of {prod(grid)}: check their lengths")
    sizes = torch.tensor(lengths, device=device)[:, None]
    inside = torch.arange(max(lengths), device=device)
    tokens = sizes.cumsum(0) - sizes + inside.minimum(sizes - 1)
    return _groups(tokens, tokens, (inside < sizes)[:, None, :].expand(-1, max(lengths), -1))


# Patterns of one axis.


def _tiles(length: int, side: int, shift: int, device: torch.device) -> Groups:
    first = shift % side - side if shift % side else 0
    places = torch.arange(first, length, side, device=device)[:, None] + torch.arange(side, device=device)
    real = None if first == 0 and length % side == 0 else (places >= 0) & (places < length)
    tokens = places.clamp(0, length - 1)
    return _groups(tokens, tokens, None if real is None else real[:, None, :].expand(-1, side, -1))


def _residues(length: int, stride: int, device: torch.device) -> Groups:
    stride = min(stride, length)
    first = torch.arange(stride, device=device)[:, None]
    places = torch.arange(ceil(length / stride), device=device)
    last = (length - 1 - first) // stride
    tokens = first + stride * places.minimum(last)
    real = (places <= last)[:, None, :].expand(-1, places.shape[0], -1)
    return _groups(tokens, tokens, None if length % stride == 0 else real)


TILE = 5
"""Number of neighbouring queries in a group. With more, most keys are no neighbours; with fewer, keys are gathered more
often."""


def _neighbours(length: int, side: int, dilation: int, device: torch.device) -> Groups:
    dilation = min(dilation, length)
    longest = ceil(length / dilation)
    width = min(TILE + side - 1, longest)
    # Indices within a residue class of the dilation; its length is `size`.
    residue = torch.arange(dilation, device=device)[:, None, None]
    size = (length - 1 - residue) // dilation + 1
    tile = torch.arange(0, longest, TILE, device=device)[:, None]
    queries = (tile + torch.arange(TILE, device=device)).minimum(size - 1)
    start = (queries - side // 2).minimum(size - side).clamp(min=0)
    keys = (tile - side // 2).minimum(size - width).clamp(min=0) + torch.arange(width, device=device)
    behind = keys[..., None, :] - start[..., None]
    allowed = (behind >= 0) & (behind < side) & (keys < size)[..., None, :]
    keys = keys.minimum(size - 1)
    return _groups(
        (queries * dilation + residue).flatten(0, 1), (keys * dilation + residue).flatten(0, 1), allowed.flatten(0, 1)
    )


# Combination of patterns.


def _groups(queries: Tensor, keys: Tensor, allowed: Tensor | None) -> Groups:
    return Groups(queries, keys, allowed, everywhere=queries.new_zeros(0))


def _over_axes(grid: Grid, axes: Sequence[Groups]) -> Groups:
    pairs = zip(axes, grid, strict=True)
    return reduce(lambda one, two: (_product(one[0], *two), one[1] * two[1]), pairs)[0]


def _product(first: Groups, second: Groups, length: int) -> Groups:
    """Pattern of a grid: `first` for its slower axes, `second` for its last axis, of this length."""

    def joined(a: Tensor, b: Tensor) -> Tensor:
        return (a[:, None, :, None] * length + b[None, :, None, :]).flatten(2).flatten(0, 1)

    allowed = None
    if first.allowed is not None or second.allowed is not None:
        a, b = _allowed(first)[:, None, :, None, :, None], _allowed(second)[None, :, None, :, None, :]
        allowed = (a & b).flatten(4).flatten(2, 3).flatten(0, 1)
    return _groups(joined(first.queries, second.queries), joined(first.keys, second.keys), allowed)


def _allowed(groups: Groups) -> Bool[Tensor, "G n m"]:
    if groups.allowed is not None:
        return groups.allowed
    shape = (*groups.queries.shape, groups.keys.shape[1])
    return torch.ones(shape, dtype=torch.bool, device=groups.queries.device)


def _lots(rows: Tensor, columns: Tensor, seed: int) -> Int[Tensor, "R C"]:
    """A pseudo-random number below 2³² for each pair, the same on every device."""
    low = 0xFFFFFFFF
    lots = (rows * 0x9E3779B1 + columns * 0x85EBCA77 + seed * 0xC2B2AE3D + 1) & low
    for multiplier in (0x7FEB352D, 0x846CA68B):  # a hash of Ettinger's "hash prospector"
        lots = ((lots ^ (lots >> 16)) * multiplier) & low
    return lots ^ (lots >> 16)
