"""Base of all corruptions: five severities, uint8 images in and out, random numbers from a seed.

Hendrycks and Dietterich (2019), "Benchmarking neural network robustness to common corruptions and perturbations",
define theirs for images of 224 px. Here lengths (of blurs, streaks, displacements) scale with the shorter side of the
image, so that an image of another size is corrupted as much as the same image at 224 px.
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
FloatImage = Float[ndarray, "H W C"]
Corruption = Callable[..., Image]
"""(image uint8 (H, W, C) with C 1 or 3, severity 1 to 5, seed) -> image of the same shape."""

SEVERITIES = (1, 2, 3, 4, 5)
PUBLISHED_SIDE = 224

Level = TypeVar("Level")


def corruption(
    levels: Sequence[Level],
) -> Callable[[Callable[[FloatImage, Level, np.random.Generator], Any]], Corruption]:
    """Decorator that makes a corruption from a function on images in [0, 1], (image, level, random) -> image.

    Args:
        levels: the function's `level` for each of the five severities.
    """

    def wrap(damage: Callable[[FloatImage, Level, np.random.Generator], Any]) -> Corruption:
        @wraps(damage)
        def corrupted(image: Image, severity: int, seed: int = 0) -> Image:
            check(image, severity)
            random = np.random.default_rng(derive(seed, damage.__name__))
            return to_bytes(damage(image.astype(np.float32) / 255, levels[severity - 1], random))

        return corrupted

    return wrap


def check(image: Any, severity: int) -> None:
    """Raise VitrailError unless the image is uint8 (H, W, 1 or 3) and the severity is from 1 to 5."""
    if severity not in SEVERITIES:
        raise VitrailError(f"severity {severity} does not exist: corruptions have 1 (mild) to 5 (strong)")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
        raise VitrailError(
            f"an image of shape {tuple(image.shape)} and type {image.dtype} cannot be corrupted: give uint8 (H, W, C) "
            "with 1 or 3 channels"
        )


def to_bytes(image: FloatImage) -> Image:
    """Convert an image in [0, 1] to uint8, clipped and rounded."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def reach(image: FloatImage) -> float:
    """Scale of lengths: pixels of this image per pixel of the published corruptions."""
    return min(image.shape[:2]) / PUBLISHED_SIDE
