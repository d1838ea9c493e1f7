"""Recall of retrieval: how often a right item is among the first k by similarity."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

RANKS = (1, 5, 10)
"""The k of R@k."""


def recalls(
    similarity: Float[Tensor, "n m"], right: Bool[Tensor, "n m"], ranks: Sequence[int] = RANKS
) -> Float[Tensor, "n k"]:
    """Probability that a right candidate is among the first k, for each query; float64.

    It is 0 or 1 unless candidates have the similarity of the best right one: these are in random order.

    Args:
        similarity: of queries and candidates.
        right: whether a candidate is right for a query; each query has one at least.
        ranks: the values of k.
    """
    best = similarity.masked_fill(~right, -torch.inf).amax(dim=1, keepdim=True)
    before = (similarity > best).sum(dim=1)
    tied = similarity == best
    wrong, good = (tied & ~right).sum(dim=1).double(), (tied & right).sum(dim=1).double()
    return torch.stack([1 - _all_wrong(wrong, good, k - before) for k in ranks], dim=1)


def _all_wrong(wrong: Float[Tensor, " n"], good: Float[Tensor, " n"], places: Tensor) -> Float[Tensor, " n"]:
    """Probability that the first places of a random order of wrong and good items have no good one."""
    chance = torch.ones_like(wrong)
    for place in range(int(places.amax().clamp(min=0))):
        left = ((wrong - place) / (wrong + good - place)).clamp(min=0)
        chance = torch.where(place < places, chance * left.nan_to_num(0.0), chance)
    return chance


def candidates(
    own: Bool[Tensor, "n m"], right: Bool[Tensor, "n m"], count: int, generator: torch.Generator
) -> tuple[Bool[Tensor, "n m"], Bool[Tensor, " n"]]:
    """Draw candidates for each query: one of its own items, and `count` − 1 of those that are not right for it.

    Args:
        own: whether an item belongs to a query.
        right: whether it is right for the query, as its own items and others may be.
        count: number of candidates.
        generator: source of the random numbers.

    Returns:
        Which items are candidates of a query; and which queries have enough items.
    """
    order = torch.rand(own.shape, generator=generator)
    enough = own.any(dim=1) & ((~right).sum(dim=1) >= count - 1)
    mine = order.masked_fill(~own, 2.0).argmin(dim=1, keepdim=True)
    wrong = order.masked_fill(right, 2.0).topk(min(count - 1, own.shape[1]), largest=False).indices
    chosen = torch.zeros_like(own).scatter_(1, wrong, True).scatter_(1, mine, True)
    return chosen & enough[:, None], enough
