"""Backgrounds: soft clouds of pale colours, and the noise of a camera."""

from functools import cache
from statistics import NormalDist

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray
from PIL import Image

_NOISE = 5.0


def clouds(rng: np.random.Generator, side: int) -> Float32[ndarray, "H W 3"]:
    """Soft clouds, (side, side, 3), 0 to 255: greys with a little colour, large ones and small ones."""
    large = _grown(rng.uniform(95, 190, (4, 4, 1)) + rng.uniform(-26, 26, (4, 4, 3)), 10)
    small = rng.uniform(-18, 18, (10, 10, 1)) + rng.uniform(-6, 6, (10, 10, 3))
    return _grown(large + small, side)


def noise(rng: np.random.Generator, canvas: Float32[ndarray, "... 3"]) -> UInt8[ndarray, "... 3"]:
    """Add normal noise with a standard deviation of 5 of 255, and round."""
    # Quantiles by random bytes: an eighth of the time of normal numbers, and a third of that of a whole scene.
    drawn = _quantiles()[np.frombuffer(rng.bytes(canvas.size), dtype=np.uint8)].reshape(canvas.shape)
    drawn += canvas
    return np.clip(drawn, 0, 255, out=drawn).astype(np.uint8)


@cache
def _quantiles() -> Float32[ndarray, "256"]:
    """256 equally probable values of the noise, plus ½ for rounding."""
    normal = NormalDist(0.5, _NOISE)
    return np.array([normal.inv_cdf((i + 0.5) / 256) for i in range(256)], dtype=np.float32)


def _grown(cells: ndarray, side: int) -> Float32[ndarray, "H W 3"]:
    image = Image.fromarray(np.clip(cells, 0, 255).astype(np.uint8))
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32)
