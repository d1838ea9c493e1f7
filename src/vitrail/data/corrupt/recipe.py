"""What all corruptions share: five severities, bytes in and out, chance as a function of a seed.

Hendrycks and Dietterich (2019), "Benchmarking neural network robustness to common corruptions and perturbations",
made theirs for pictures of 224 px. Lengths here (of blurs, streaks, displacements) grow with the shorter side of the
picture, so that a picture of another size is damaged as much as the same picture at 224 px would be.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from ...errors import VitrailError
from ..seeds import derive

Image = UInt8[ndarray, "H W C"]
Picture = Float[ndarray, "H W C"]
Corruption = Callable[..., Image]
"""(image uint8 (H, W, C) with C 1 or 3, severity 1 to 5, seed) -> another of the same shape."""

SEVERITIES = (1, 2, 3, 4, 5)
PUBLISHED_SIDE = 224

Level = TypeVar("Level")


def corruption(levels: Sequence[Level]) -> Callable[[Callable[[Picture, Level, np.random.Generator], Any]], Corruption]:
    """Make a corruption of a function on pictures from 0 to 1: (picture, level, random) -> picture.

    Args:
        levels: what the function is given at each of the five severities.
    """

    def wrap(damage: Callable[[Picture, Level, np.random.Generator], Any]) -> Corruption:
        @wraps(damage)
        def corrupted(image: Image, severity: int, seed: int = 0) -> Image:
            check(image, severity)
            random = np.random.default_rng(derive(seed, damage.__name__))
            return to_bytes(damage(image.astype(np.float32) / 255, levels[severity - 1], random))

        return corrupted

    return wrap


def check(image: Any, severity: int) -> None:
    """Raise a VitrailError unless it is an image (H, W, 1 or 3) of bytes and a severity from 1 to 5."""
    if severity not in SEVERITIES:
        raise VitrailError(f"severity {severity} does not exist: corruptions have 1 (mild) to 5 (strong)")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
        raise VitrailError(
            f"an image of shape {tuple(image.shape)} and type {image.dtype} cannot be corrupted: give uint8 (H, W, C) "
            "with 1 or 3 channels"
        )


def to_bytes(picture: Picture) -> Image:
    """A picture from 0 to 1, cut off there and rounded."""
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def reach(picture: Picture) -> float:
    """How many pixels here are one pixel of the published corruptions."""
    return min(picture.shape[:2]) / PUBLISHED_SIDE
