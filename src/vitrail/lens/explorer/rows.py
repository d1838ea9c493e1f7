"""What one layer's weights mean in the picture: which cells the queries and the keys are."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import VitrailError
from ..observe import Attention, Layout


@dataclass(frozen=True, slots=True, eq=False)
class LayerRows:
    """The weights of one layer for one picture, and where its queries and keys lie.

    Attributes:
        weights: (h, N, M). Prefix tokens come first among queries and among keys.
        queries: grid and prefix of the queries; N is prefix + rows · columns. A grid of (0, 0) where only prefix
            tokens look, as in class attention.
        keys: grid and prefix of the keys, which may be coarser than the queries'.
        cells: for each query the cells of the key grid, counted row by row, that its M - prefix patch keys are; -1
            for a key that is no part of the picture. None where every query looks at all cells, in their order.
    """

    weights: Float[Tensor, "h N M"]
    queries: Layout
    keys: Layout
    cells: Int[Tensor, "N m"] | None = None


@dataclass(frozen=True, slots=True)
class Unseen:
    """A layer that cannot be laid over the picture, and why: a clause for the reader."""

    reason: str


def layer_rows(seen: Attention, layer: int) -> LayerRows | Unseen:
    """What the layer does with the first picture, on the CPU, or why it cannot be drawn.

    The one place that knows how weights fold back into the picture; all else works with what it gives.
    """
    weights = seen[layer]
    try:
        layout = seen.layout(layer)
    except VitrailError:
        return Unseen("its queries are learned, and stand for no place in the picture")
    if len(layout.grid) != 2:
        return Unseen(f"its grid has {len(layout.grid)} dimensions, and a picture two")
    if weights.shape[0] != 1:
        return Unseen("it looks inside windows, which are not laid over the picture yet")
    patches = torch.Size(layout.grid).numel()
    queries = {layout.prefix + patches: layout, layout.prefix: Layout((0, 0), layout.prefix)}.get(weights.shape[2])
    keys = _key_layout(layout, weights.shape[3])
    if queries is None or keys is None:
        return Unseen(f"its {weights.shape[2]} × {weights.shape[3]} weights do not fold into a grid of the picture")
    return LayerRows(weights[0].cpu(), queries, keys)


def _key_layout(layout: Layout, count: int) -> Layout | None:
    """The grid of `count` keys: the queries', or one that a spatial reduction left."""
    rows, columns = layout.grid
    for ratio in range(1, max(rows, columns) + 1):
        for grid in ((rows // ratio, columns // ratio), (-(-rows // ratio), -(-columns // ratio))):
            for prefix in (layout.prefix, 0):
                if prefix + torch.Size(grid).numel() == count:
                    return Layout(grid, prefix)
    return None
