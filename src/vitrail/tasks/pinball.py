"""The pinball loss, whose minimum is a quantile."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def pinball(error: Float[Tensor, "*shape"], quantile: float) -> Float[Tensor, "*shape"]:
    """Loss of each error e = truth − predicted: q e above the prediction, (q − 1) e below it (Koenker & Bassett, 1978).

    Args:
        error: truth − predicted.
        quantile: q, between 0 and 1.
    """
    return torch.maximum(quantile * error, (quantile - 1) * error)


def best_constant(truth: Float[Tensor, " n"], quantile: float) -> float:
    """A number whose mean pinball loss is the smallest of all: the ⌈n q⌉-th smallest truth."""
    rank = max(1, math.ceil(len(truth) * quantile - 1e-9))
    return truth.sort().values[rank - 1].item()
