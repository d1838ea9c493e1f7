"""Mean and standard deviation of each channel of a data set."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf

from ..data.seeds import permutation

_ENOUGH = 1000


def channel_statistics(
    read: Callable[[int], Tensor], count: int, seed: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation over the pixels of up to 1,000 images, on the scale where uint8 is 0 to 1."""
    chosen: Sequence[int] = sorted(permutation(count, seed)[:_ENOUGH])
    sums = squares = torch.zeros(1, dtype=torch.float64)
    pixels = 0
    for index in chosen:
        image = tvf.to_dtype(read(index), torch.float32, scale=True).double().flatten(1)
        sums, squares = sums + image.sum(1), squares + image.square().sum(1)
        pixels += image.shape[1]
    mean = sums / pixels
    # A constant channel has deviation 0, which nothing can be divided by.
    std = (squares / pixels - mean.square()).clamp(min=0).sqrt().clamp(min=1e-3)
    return tuple(round(v, 4) for v in mean.tolist()), tuple(round(v, 4) for v in std.tolist())
