"""Attention flow: maximum flow from each input token to the head's tokens, with attention as capacities.

Abnar and Zuidema (2020, "Quantifying attention flow in transformers", section 3): every token of every layer is a node,
every weight of the layer's map (mean over heads, averaged with the identity) is the capacity of an edge.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...errors import VitrailError
from ...nn import VisionModel
from ...progress import Track, silent
from .flow_proof import reaches_bound, supplied_below
from .flow_search import PRECISION, MinimumCuts
from .layers import Layers, looked_through, reading
from .method import Method
from .passes import Map, Pixels, Targets, patch_map

__all__ = ["MOST_SEARCHED", "PRECISION", "Cut", "Flow", "attention_flow", "flow_map", "pipes"]


MOST_SEARCHED = 100_000_000
"""Limit of the search for one image, in tokens to be searched for times edges of the graph: all 197 tokens of a ViT of
12 layers at 224 px with patches of 16. A search visits some 10⁷ edges in a second."""


@dataclass(frozen=True, slots=True)
class Cut:
    """An edge of a minimum cut: from `query` of a layer to `key`; layer is None for the edges of the source."""

    layer: int | None
    query: int
    key: int
    capacity: float


@dataclass(frozen=True, slots=True)
class Flow:
    """Maximum flows from the tokens that the head reads to each input token, with their minimum cuts.

    Attributes:
        values: the flows, (T,), float64; T input tokens.
        trivial: (T,), whether the edges of the source, or all edges into the token, are a minimum cut. Then the value
            is 1, or the attention that the token receives in the first layer, and independent of the layers between.
        source_side: for each layer but the last, from the first up, which of its outputs are on the source's side of
            the cut, (T, n): all if the cut is around the token, none if it is around the source.
        layers, start: the graph.
    """

    values: Float[Tensor, " T"]
    trivial: Bool[Tensor, " T"]
    source_side: tuple[Bool[Tensor, "T n"], ...]
    layers: tuple[Float[Tensor, "n m"], ...]
    start: Float[Tensor, " n"]

    def cut(self, target: int) -> list[Cut]:
        """The edges of the minimum cut for one input token; their capacities sum to the flow."""
        sides = [side[target] for side in self.source_side]
        lost = torch.where(sides[-1], 0.0, self.start)
        edges = [Cut(None, 0, int(key), float(lost[key])) for key in lost.nonzero()]
        for layer in range(len(self.layers) - 1, 0, -1):
            across = self.layers[layer] * (sides[layer].unsqueeze(1) & ~sides[layer - 1])
            edges += [Cut(layer, int(i), int(j), float(across[i, j])) for i, j in across.nonzero()]
        into = self.layers[0][:, target] * sides[0]
        return edges + [Cut(0, int(i), target, float(into[i])) for i in into.nonzero()]


def attention_flow(
    layers: Sequence[Float[Tensor, "n m"]],
    start: Float[Tensor, " n"],
    *,
    most: int = MOST_SEARCHED,
    progress: Track = silent,
) -> Flow:
    """Return the maximum flow from a source to each input token, through the layers of one image.

    A flow is at most the capacity out of the source, and at most the capacity into the token. If a flow of this size
    can be constructed (`flow_proof`), as for nearly all tokens of models with many layers, it is the maximum. The other
    flows are found by search (`flow_search`, which needs SciPy and rounds to `PRECISION`).

    Args:
        layers: capacities of every layer, from first to last, from outputs (rows) to inputs (columns), see `pipes`.
        start: capacities from the source to the last layer's outputs: 1 for the class token and 0 for all others, or
            equal shares for all patches of a model that takes their mean.
        most: limit of the search, in tokens times edges, see `MOST_SEARCHED`.
        progress: reports the tokens that are searched for.

    Raises:
        VitrailError: the shapes of successive layers do not match, the search would exceed `most`, or SciPy is needed
            and missing.
    """
    layers = tuple(layer.detach().to("cpu", torch.float64) for layer in layers)
    start = start.detach().to("cpu", torch.float64)
    _check(layers, start)
    bound = layers[0].sum(dim=0).clamp(max=float(start.sum()))
    around_token = layers[0].sum(dim=0) < start.sum()
    proven = reaches_bound(layers, start, bound)
    sides = tuple(around_token.unsqueeze(1).repeat(1, layer.shape[0]) for layer in layers)
    _check_work(layers, proven, most)
    values, trivial = bound.clone(), proven | _found_below(layers, start, bound, proven, progress)
    if not trivial.all():
        search = MinimumCuts(layers, start)
        targets = (~trivial).nonzero().flatten().tolist()
        for target in progress(targets, len(targets), "attention flow"):
            value, cut = search.to(target)
            trivial[target] = value >= bound[target] - PRECISION
            if not trivial[target]:
                values[target] = value
                for side, found in zip(sides, cut, strict=True):
                    side[target] = found
    return Flow(values, trivial, sides, layers, start)


def pipes(fused: Layers) -> list[Float[Tensor, "B n m"]]:
    """Capacities of each layer: its map averaged with the identity, rows that sum to 1.

    Tokens that are no queries of a layer pass unchanged; tokens added between two layers have no inputs.

    Args:
        fused: one map for each layer, (B, R, M), not negative, from first to last.
    """
    capacities = []
    for index, layer in enumerate(fused):
        batch, queries, keys = layer.shape
        whole = torch.eye(keys, dtype=torch.float64, device=layer.device).repeat(batch, 1, 1)
        whole[:, :queries] += layer
        whole = whole / whole.sum(dim=2, keepdim=True)
        before = fused[index - 1].shape[2] if index else keys
        capacities.append(whole[:, :, keys - before :])
    return capacities


def flow_map(
    model: VisionModel,
    pixels: Pixels,
    targets: Targets,
    *,
    most: int = MOST_SEARCHED,
    progress: Track = silent,
) -> Map:
    """Maximum flow from the tokens that the head reads to each patch; the same for any class.

    For plain models of many layers it is close to trivial, see `Flow`: the attention that a patch receives in the first
    layer, cut at 1.

    Args:
        most, progress: as in `attention_flow`, for each image.
    """
    with torch.no_grad():
        looks, tokens = looked_through(model, pixels)
        start = reading(model, tokens)
        layers = pipes([look.weights().mean(dim=1).clamp(min=0) for look in looks])
    flows = [
        attention_flow(
            [layer[image] for layer in layers],
            start[image, -layers[-1].shape[1] :],
            most=most,
            progress=progress,
        ).values
        for image in range(len(pixels))
    ]
    return patch_map(torch.stack(flows).to(start), tokens)


def _check_work(layers: tuple[Tensor, ...], proven: Tensor, most: int) -> None:
    """Raise a VitrailError if the search would exceed its limit."""
    left, edges = int((~proven).sum()), sum(layer.numel() for layer in layers)
    if left * edges > most:
        raise VitrailError(
            f"the attention flow of {left} of {len(proven)} tokens must be searched for, each among {edges:,} edges; "
            f"{left * edges:,} are more than most={most:,}: use rollout, a smaller image, or a larger most"
        )


def _found_below(
    layers: tuple[Tensor, ...], start: Tensor, bound: Tensor, proven: Tensor, progress: Track
) -> Bool[Tensor, " T"]:
    """Whether a flow of `bound` through the lower half of the layers was found that the upper half can supply.

    Half of the graph takes a third of the time, and is nearly always sufficient.
    """
    found, half = torch.zeros_like(proven), len(layers) // 2
    if half == 0 or proven.all():
        return found
    supplies, carried = supplied_below(layers, start, start.sum().unsqueeze(0))
    if carried[half - 1]:
        search = MinimumCuts(layers[:half], supplies[half - 1][0])
        targets = (~proven).nonzero().flatten().tolist()
        for target in progress(targets, len(targets), "attention flow"):
            found[target] = search.to(target)[0] >= bound[target] - PRECISION
    return found


def _check(layers: tuple[Tensor, ...], start: Tensor) -> None:
    if not layers:
        raise VitrailError("attention flow needs at least one layer")
    for above, below in zip((start.unsqueeze(0), *reversed(layers)), reversed(layers), strict=False):
        if below.ndim != 2 or above.shape[1] != below.shape[0]:
            raise VitrailError(
                f"a layer of {tuple(below.shape)} has not the {above.shape[1]} outputs that the one above it takes:"
                " give capacities (outputs, inputs) of one image, see `pipes`"
            )


METHOD = Method("Attention flow", flow_map, signed=False, by_class=False)
