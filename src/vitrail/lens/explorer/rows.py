"""What one layer's weights mean in the picture: which cells the queries and the keys are."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import VitrailError
from ..layout import Layout, over_picture
from ..observe import Attention

LARGEST_SPREAD = 10_000_000
"""Weights of a layer that may be spread over the whole picture where its groups cannot be kept as they are."""


@dataclass(frozen=True, slots=True)
class Side:
    """The tokens that look, or those that are looked at: `prefix` of them, then a grid of patches, row by row.

    Attributes:
        grid: (0, 0) where there are no patches.
        cover: where patches have several sizes, which of them lies over each cell of the grid, row by row.
        free: the `prefix` tokens are none of the model's that lead its patches, but learned queries of this layer, or
            those of a decoder.
    """

    grid: tuple[int, int]
    prefix: int
    cover: tuple[int, ...] = ()
    free: bool = False

    @property
    def count(self) -> int:
        return self.prefix + (max(self.cover) + 1 if self.cover else self.grid[0] * self.grid[1])


@dataclass(frozen=True, slots=True, eq=False)
class LayerRows:
    """The weights of one layer for one picture, and where its queries and keys lie.

    Attributes:
        weights: (h, N, M), N queries. Prefix tokens come first among queries and among keys.
        queries: a grid of (0, 0) where only prefix tokens look, as in class attention.
        keys: may be coarser than the queries.
        cells: for each query the cells of the key grid, counted row by row, that its M - prefix patch keys are; -1
            for a key that is no part of the picture. None where every query looks at all cells, in their order.
    """

    weights: Float[Tensor, "h N M"]
    queries: Side
    keys: Side
    cells: Int[Tensor, "N m"] | None = None


@dataclass(frozen=True, slots=True)
class Unseen:
    """A layer that cannot be laid over the picture, and why: a clause for the reader."""

    reason: str


def layer_rows(seen: Attention, layer: int, cover: Int[Tensor, "h w"] | None = None) -> LayerRows | Unseen:
    """What the layer does with the one picture that was observed, on the CPU, or why it cannot be drawn.

    The one place that knows how weights fold back into the picture; all else works with what it gives.

    Args:
        cover: which patch lies over each cell, for a model whose patches have several sizes.
    """
    try:
        layout = seen.layout(layer)
    except VitrailError:
        return Unseen("it was not given tokens of the picture")
    weights = seen[layer].cpu()
    queries, keys = _side(layout.grid, layout.prefix, cover), _side(layout.key_grid, layout.key_prefix, cover)
    if keys is None:
        return Unseen("what it looks at is no grid of patches")
    if queries is None:
        queries = Side((0, 0), layout.queries, free=True)
    if layout.places is None:
        return LayerRows(weights[0], queries, keys)
    where = layout.places.queries.cpu()
    if len(weights) == 1 and torch.equal(where[0], torch.arange(layout.prefix)):
        return LayerRows(weights[0], Side((0, 0), layout.prefix), keys)
    if keys.prefix == 0 and bool((torch.bincount(where[where >= 0], minlength=queries.count) == 1).all()):
        return _of_groups(weights, layout, queries, keys)
    if weights.shape[1] * queries.count * keys.count > LARGEST_SPREAD:
        return Unseen("its tokens meet in several groups, and there are too many to spread over the picture")
    return LayerRows(over_picture(weights, _on_cpu(layout))[0], queries, keys)


def _of_groups(weights: Float[Tensor, "G h n m"], layout: Layout, queries: Side, keys: Side) -> LayerRows:
    """Windows, each with its own keys, as rows of the queries in their order in the picture."""
    places = _on_cpu(layout).places
    assert places is not None
    group, place = (places.queries >= 0).nonzero(as_tuple=True)
    order = places.queries[group, place].argsort()
    group, place = group[order], place[order]
    return LayerRows(weights[group, :, place].transpose(0, 1), queries, keys, places.keys[group])


def _on_cpu(layout: Layout) -> Layout:
    assert layout.places is not None
    places = type(layout.places)(layout.places.queries.cpu(), layout.places.keys.cpu())
    return Layout(layout.grid, layout.prefix, layout.key_grid, layout.key_prefix, places)


def _side(grid: tuple[int, ...], prefix: int, cover: Int[Tensor, "h w"] | None) -> Side | None:
    """None where the tokens stand for no places in the picture."""
    if len(grid) == 2:
        return Side((grid[0], grid[1]), prefix)
    if cover is not None and grid == (int(cover.max()) + 1,):
        return Side((cover.shape[0], cover.shape[1]), prefix, tuple(cover.flatten().tolist()))
    return None
