"""Maximum flows by SciPy's implementation of Dinic's algorithm (1970), one target at a time."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...errors import VitrailError

SCALE = 2**30
"""Integer value of a capacity of 1: SciPy's capacities are 32-bit integers, and flows are at most 1."""

PRECISION = 1e-6
"""Largest error of a value: that of a cut of k edges is at most k / SCALE, and k is a few hundred."""


class MinimumCuts:
    """A graph of layers between a source and one input token at a time.

    Args:
        layers, start: as in `attention_flow`.
    """

    def __init__(self, layers: tuple[Float[Tensor, "n m"], ...], start: Float[Tensor, " n"]) -> None:
        self.layers = layers
        self.start = start
        self.sizes = [layer.shape[0] for layer in reversed(layers)]
        self.graph = _graph(layers, start)

    def to(self, target: int) -> tuple[float, list[Bool[Tensor, " n"]]]:
        """Return the value of a minimum cut for an input token, and its source's side in each layer, from the first
        up."""
        from scipy.sparse.csgraph import maximum_flow

        # The edges into the token are the last ones: all that changes from one token to the next.
        self.graph.data[-self.sizes[-1] :] = _integers(self.layers[0][:, target])
        last = self.graph.shape[0] - 1
        found = maximum_flow(self.graph, 0, last, method="dinic")
        reached = _reached(self.graph - found.flow)
        parts = np.split(reached[1:last], np.cumsum(self.sizes)[:-1])
        sides = [torch.from_numpy(part.copy()) for part in reversed(parts)]
        return self._value(sides, target), sides

    def _value(self, sides: list[Tensor], target: int) -> float:
        """Capacity of the cut without rounding to integers."""
        total = self.start[~sides[-1]].sum() + self.layers[0][sides[0], target].sum()
        for below, above, layer in zip(sides, sides[1:], self.layers[1:], strict=False):
            total = total + layer[above][:, ~below].sum()
        return float(total)


def _graph(layers, start):  # type: ignore[no-untyped-def]
    """Source, the outputs of the last layer down to those of the first, and the token, as a sparse matrix."""
    try:
        from scipy.sparse import bmat, csr_array
    except ImportError as missing:
        raise VitrailError("attention flow must be searched for here: pip install 'vitrail[flow]'") from missing
    # Above the diagonal of blocks; the last column is filled in for each target.
    blocks = [csr_array(_integers(start)[None])]
    blocks += [csr_array(_integers(layer)) for layer in reversed(layers[1:])]
    blocks.append(csr_array(np.ones((layers[0].shape[0], 1), dtype=np.int32)))
    count = len(blocks) + 1
    grid = [[None] * count for _ in range(count)]
    for index, block in enumerate(blocks):
        grid[index][index + 1] = block
    grid[0][0] = csr_array((1, 1), dtype=np.int32)
    grid[-1][-1] = csr_array((1, 1), dtype=np.int32)
    graph = bmat(grid, format="csr", dtype=np.int32)
    graph.sort_indices()
    return graph


def _integers(capacities: Float[Tensor, "..."]) -> np.ndarray:
    return (capacities.clamp(max=1) * (SCALE - 1)).floor().numpy().astype(np.int32)


def _reached(residual) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Nodes that are reachable from the source in the residual graph."""
    from scipy.sparse.csgraph import breadth_first_order

    residual.data[residual.data < 0] = 0
    residual.eliminate_zeros()
    order = breadth_first_order(residual, 0, return_predecessors=False)
    reached = np.zeros(residual.shape[0], dtype=bool)
    reached[order] = True
    return reached
