"""Construction of flows that reach their trivial bound and are therefore maximal, for all targets at once.

From the source downwards each token distributes its inflow to other tokens in proportion to the capacities, and only
the excess to itself; from the target upwards the demand is distributed in the same way. Both spread over all tokens
within a few layers. In one layer between, supply and demand are matched. If no capacity is exceeded, the result is a
flow.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float
from torch import Tensor

ROUNDING = 1e-9
"""Relative tolerance of capacities, for rounding errors of sums in float64."""

ROUNDS = 40
"""Maximum number of Sinkhorn iterations in a layer."""

MEETINGS = 3
"""Number of layers, from the middle outwards, in which supply and demand are matched."""

Pipes = Float[Tensor, "n m"]
Amounts = Float[Tensor, "T n"]
Holds = Bool[Tensor, " T"]


def reaches_bound(layers: tuple[Pipes, ...], start: Float[Tensor, " n"], bound: Float[Tensor, " T"]) -> Holds:
    """Return for which input tokens a flow of size `bound` was found. If False, it may still exist.

    Args:
        layers, start: as in `attention_flow`, float64.
        bound: size of the flow for each input token, at most the capacity out of the source and into the token.
    """
    with _one_thread():
        return _reaches_bound(layers, start, bound)


def _reaches_bound(layers: tuple[Pipes, ...], start: Float[Tensor, " n"], bound: Float[Tensor, " T"]) -> Holds:
    proven = bound <= 0
    supplies, supplied = supplied_below(layers, start, bound)
    demands, demanded = _up(layers, bound)
    middle = len(layers) // 2
    for layer in sorted(range(1, len(layers)), key=lambda layer: abs(layer - middle))[:MEETINGS]:
        some = (~proven & supplied[layer] & demanded[layer]).nonzero().flatten()
        proven[some] = _meet(layers[layer], supplies[layer][some], demands[layer][some])
        if proven.all():
            break
    return proven


def supplied_below(
    layers: tuple[Pipes, ...], start: Float[Tensor, " n"], bound: Float[Tensor, " T"]
) -> tuple[dict[int, Amounts], dict[int, Holds]]:
    """Supply at the outputs of each layer if `bound` leaves the source, and whether it respects all capacities."""
    amounts = bound.unsqueeze(1) * start / start.sum()
    holds = torch.ones(len(bound), dtype=torch.bool)
    arrived, fits = {}, {}
    for layer in range(len(layers) - 1, -1, -1):
        arrived[layer], fits[layer] = amounts, holds
        amounts, carried = _spread(amounts, layers[layer], layers[layer].shape[0] - layers[layer].shape[1])
        holds = holds & carried
    return arrived, fits


def _up(layers: tuple[Pipes, ...], bound: Float[Tensor, " T"]) -> tuple[dict[int, Amounts], dict[int, Holds]]:
    """Demand at the inputs of each layer but the first, and whether it respects all capacities below."""
    into = layers[0].sum(dim=0)
    amounts = (layers[0] * _ratio(bound, into)).T
    holds = torch.ones(len(bound), dtype=torch.bool)
    wanted, fits = {}, {}
    for layer in range(1, len(layers)):
        wanted[layer], fits[layer] = amounts, holds
        amounts, carried = _spread(amounts, layers[layer].T, layers[layer].shape[1] - layers[layer].shape[0])
        holds = holds & carried
    return wanted, fits


def _spread(amounts: Amounts, pipes: Pipes, more: int) -> tuple[Amounts, Holds]:
    """Distribute amounts over pipes (from, to): to other tokens in proportion to capacity, to itself the rest.

    The first `more` tokens of one side are missing on the other; the rest are the same tokens, in order.
    """
    itself = _diagonal(pipes, more)
    others = _without_diagonal(pipes, more)
    room = others.sum(dim=1)
    left = (amounts - room).clamp(min=0)
    passed = _ratio(amounts - left, room) @ others
    lead_from, lead_to = max(more, 0), max(-more, 0)
    passed[:, lead_to:] += left[:, lead_from:]
    own = torch.cat([itself.new_zeros(lead_from), itself])
    return passed, (left <= own * (1 + ROUNDING) + 1e-15).all(dim=1)


def _meet(pipes: Pipes, supply: Amounts, demand: Amounts) -> Holds:
    """Whether a layer can match the supply above it with the demand below it, by a flow pipes · u vᵀ.

    u and v by iterative proportional fitting (Sinkhorn and Knopp, 1967): rows sum to the supply, columns to the demand.
    """
    v = torch.ones_like(demand)
    for _ in range(ROUNDS):
        into = _ratio(supply, v @ pipes.T) @ pipes
        if ((v * into - demand).abs().sum(dim=1) <= ROUNDING).all():
            break
        v = _ratio(demand, into)
    u = _ratio(supply, v @ pipes.T)
    led = (v * (u @ pipes) - demand).abs().sum(dim=1) <= ROUNDING
    carried = (u * (v @ pipes.T) - supply).abs().sum(dim=1) <= ROUNDING
    return led & carried & (u.amax(dim=1) * v.amax(dim=1) <= 1)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Context manager for one thread: for small products on a busy machine, synchronisation takes longer than work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _diagonal(pipes: Pipes, more: int) -> Float[Tensor, " k"]:
    return pipes.diagonal(-more)


def _without_diagonal(pipes: Pipes, more: int) -> Pipes:
    others = pipes.clone()
    others.diagonal(-more).zero_()
    return others


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / whole.clamp(min=1e-300), torch.zeros_like(part))
