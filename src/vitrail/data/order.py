"""Random order of samples with weights."""

import torch
from torch import Tensor

from .seeds import derive, permutation


def weighted_order(weights: Tensor, seed: int, epoch: int) -> list[int]:
    """Indices of the samples of an epoch, as many as there are weights, in random order.

    Sample i occurs weights[i] times on average: rounded up or down, chosen by systematic sampling, so that the numbers
    of all samples of one weight together are as expected, to one.

    Args:
        weights: (n,), not negative, with mean 1.
        seed, epoch: the order is a function of both.
    """
    count = len(weights)
    shuffled = torch.tensor(permutation(count, derive(seed, "order", epoch)))
    shuffled = shuffled[weights[shuffled].argsort(stable=True)]
    ends = weights[shuffled].double().cumsum(0)
    ends = ends * (count / ends[-1])
    start = torch.rand((), dtype=torch.float64, generator=torch.Generator().manual_seed(derive(seed, "weights", epoch)))
    last = (ends + start).floor_().long()
    last[-1] = count  # rounding aside, as start is below 1
    drawn = shuffled.repeat_interleave(last.diff(prepend=last.new_zeros(1)))
    return drawn[torch.tensor(permutation(count, derive(seed, "weighted order", epoch)))].tolist()
