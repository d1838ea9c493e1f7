"""Weights of one layer, with the image cells of its queries and keys."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import VitrailError
from ..frames import Mosaic
from ..layout import Layout, over_image
from ..observe import Attention

LARGEST_SPREAD = 30_000_000
"""Largest number of weights of a layer that are converted to the whole image if its groups cannot be kept: those of 8
frames of 14 × 14 patches and 12 heads."""


@dataclass(frozen=True, slots=True)
class Side:
    """The queries or the keys of a layer: prefix tokens, then a grid of patches, row by row.

    Attributes:
        grid: (0, 0) if there are no patches.
        cover: the patch of each cell of the grid, row by row, -1 for none, if patches are hidden, merged or of several
            sizes; empty otherwise.
        free: whether the `prefix` tokens are learned queries of this layer or of a decoder, not the model's prefix
            tokens.
        mosaic: of a clip, whose grid has the frames side by side.
    """

    grid: tuple[int, int]
    prefix: int
    cover: tuple[int, ...] = ()
    free: bool = False
    mosaic: Mosaic | None = None

    @property
    def count(self) -> int:
        return self.prefix + (max(self.cover) + 1 if self.cover else self.grid[0] * self.grid[1])


@dataclass(frozen=True, slots=True, eq=False)
class LayerRows:
    """Weights of one layer for one image, with the positions of its queries and keys.

    Attributes:
        weights: (h, N, M), N queries. Prefix tokens come first among queries and among keys.
        queries: a grid of (0, 0) if only prefix tokens are queries, as in class attention.
        keys: their grid may be coarser than that of the queries.
        cells: for each query the cells of the key grid, counted row by row, that its M - prefix patch keys are; -1
            for a key outside the image. None if every query attends to all cells, in their order.
    """

    weights: Float[Tensor, "h N M"]
    queries: Side
    keys: Side
    cells: Int[Tensor, "N m"] | None = None


@dataclass(frozen=True, slots=True)
class Unseen:
    """A layer that cannot be drawn over the image, with the reason."""

    reason: str


def layer_rows(seen: Attention, layer: int, mosaic: Mosaic | None = None) -> LayerRows | Unseen:
    """Weights of a layer for one observed image with the positions of its tokens, on the CPU.

    `Unseen` if they cannot be drawn over the image. All drawing works with this result.

    Args:
        mosaic: how the frames of a clip are put together; None for an image.
    """
    try:
        layout = seen.layout(layer)
    except VitrailError:
        return Unseen("its inputs are not tokens of the image")
    queries = _side(layout.grid, layout.prefix, layout.cover, mosaic)
    keys = _side(layout.key_grid, layout.key_prefix, layout.key_cover, mosaic)
    if keys is None:
        return Unseen("its keys are not a grid of patches")
    rows = _rows(seen[layer].cpu(), layout, queries, keys)
    return rows if isinstance(rows, Unseen) else _side_by_side(rows, layout)


def _rows(weights: Float[Tensor, "BG h n m"], layout: Layout, queries: Side | None, keys: Side) -> LayerRows | Unseen:
    """Rows and columns in the order of the tokens."""
    if queries is None:
        queries = Side((0, 0), layout.queries, free=True)
    if layout.places is None:
        return LayerRows(weights[0], queries, keys)
    where, held = layout.places.queries.cpu(), layout.places.keys.cpu()
    if layout.prefix and min(int(where.min()), int(held.min())) >= layout.prefix:  # prefix tokens take no part
        queries, keys = replace(queries, prefix=0), replace(keys, prefix=0)
        layout, where = _without_prefix(layout), where - layout.prefix
    if len(weights) == 1 and torch.equal(where[0], torch.arange(layout.prefix)):
        return LayerRows(weights[0], Side((0, 0), layout.prefix), keys)
    if keys.prefix == 0 and bool((torch.bincount(where[where >= 0], minlength=queries.count) == 1).all()):
        return _of_groups(weights, layout, queries, keys)
    if weights.shape[1] * queries.count * keys.count > LARGEST_SPREAD:
        return Unseen("its tokens are in several groups each, and there are too many to spread over the image")
    return LayerRows(over_image(weights, _on_cpu(layout))[0], queries, keys)


def _of_groups(weights: Float[Tensor, "G h n m"], layout: Layout, queries: Side, keys: Side) -> LayerRows:
    """Convert weights within windows to rows of queries in the order of the image, each with its own keys."""
    places = _on_cpu(layout).places
    assert places is not None
    group, place = (places.queries >= 0).nonzero(as_tuple=True)
    order = places.queries[group, place].argsort()
    group, place = group[order], place[order]
    return LayerRows(weights[group, :, place].transpose(0, 1), queries, keys, places.keys[group])


def _without_prefix(layout: Layout) -> Layout:
    assert layout.places is not None
    places = type(layout.places)(layout.places.queries - layout.prefix, layout.places.keys - layout.key_prefix)
    return replace(layout, prefix=0, key_prefix=0, places=places)


def _side_by_side(rows: LayerRows, layout: Layout) -> LayerRows:
    """The rows of a clip in the order of the mosaic; those of an image as they are."""
    weights, cells = rows.weights, rows.cells
    if rows.queries.mosaic is not None and rows.queries.grid != (0, 0):
        order = _after_prefix(rows.queries, layout.grid)
        weights, cells = weights[:, order], None if cells is None else cells[order]
    if rows.keys.mosaic is None:
        return replace(rows, weights=weights, cells=cells)
    if cells is None:
        return replace(rows, weights=weights[:, :, _after_prefix(rows.keys, layout.key_grid)])
    where = rows.keys.mosaic.order(layout.key_grid).argsort()
    return replace(rows, weights=weights, cells=torch.where(cells >= 0, where[cells], cells))


def _after_prefix(side: Side, grid: tuple[int, ...]) -> Int[Tensor, " tokens"]:
    assert side.mosaic is not None
    return torch.cat([torch.arange(side.prefix), side.prefix + side.mosaic.order(grid)])


def _on_cpu(layout: Layout) -> Layout:
    assert layout.places is not None
    places = type(layout.places)(layout.places.queries.cpu(), layout.places.keys.cpu())
    return replace(layout, places=places)


def _side(
    grid: tuple[int, ...], prefix: int, cover: Int[Tensor, "images *grid"] | None, mosaic: Mosaic | None
) -> Side | None:
    """Return the side of the tokens; None if they are not on rows and columns of the image, or of the frames."""
    if len(grid) == 3 and mosaic is not None and mosaic.times == grid[0] and cover is None:
        return Side((mosaic.rows * grid[1], mosaic.columns * grid[2]), prefix, mosaic=mosaic)
    if len(grid) != 2:
        return None
    return Side((grid[0], grid[1]), prefix, () if cover is None else tuple(cover[0].flatten().tolist()))
