"""Split-conformal prediction intervals: half-widths from the errors on images that were not trained on."""

import math

from jaxtyping import Float
from torch import Tensor

LEVEL = 0.9
"""Usual probability with which an interval contains the truth."""

_ROUNDING = 1e-9
"""Products such as 70 × 0.9 must not count as more than the whole number that they are."""


def fewest_images(level: float) -> int:
    """Least number of images from which an interval of this level, between 0 and 1, can be fitted."""
    return math.ceil(level / (1 - level) - _ROUNDING)


def half_width(errors: Float[Tensor, " n"], level: float) -> float:
    """The ⌈(n + 1) · level⌉-th smallest of n absolute errors; infinite if there are not as many.

    The truth of a further image from the same population is within this distance of its prediction with a probability
    of at least `level`, whatever the model and the distribution are (Lei et al., 2018, "Distribution-free predictive
    inference for regression", theorem 2.2).
    """
    rank = math.ceil((len(errors) + 1) * level - _ROUNDING)
    if rank > len(errors):
        return math.inf
    return errors.double().abs().sort().values[rank - 1].item()
