"""Filters for corruptions: blurs, zooms, streaks and clouds, on images with values in [0, 1]."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from PIL import Image as Pillow

from ...errors import VitrailError
from .recipe import FloatImage

Plane = Float[ndarray, "H W"]


def scipy(part: str) -> Any:
    """Import a module of SciPy.

    Raises:
        VitrailError: SciPy is not installed.
    """
    try:
        import scipy.ndimage
        import scipy.signal
    except ImportError as error:
        raise VitrailError('corruptions need SciPy: pip install "vitrail[study]"') from error
    return getattr(scipy, part)


def softened(image: FloatImage, sigma: float) -> FloatImage:
    """Gaussian blur with a deviation of `sigma` pixels; borders repeat the nearest pixel."""
    return scipy("ndimage").gaussian_filter(image, (sigma, sigma, 0), mode="nearest")


def convolved(image: FloatImage, kernel: Plane, border: Any = "reflect") -> FloatImage:
    """Convolve every channel with an odd kernel; `border` is a mode of NumPy's `pad`."""
    rows, columns = kernel.shape[0] // 2, kernel.shape[1] // 2
    # Images may be smaller than the kernel, and one mirroring only doubles them: repeat as often as necessary.
    wide = np.pad(image, ((rows, rows), (columns, columns), (0, 0)), mode=border)
    return scipy("signal").fftconvolve(wide, kernel[:, :, None], mode="valid", axes=(0, 1))


def disk(radius: float) -> Plane:
    """Kernel of equal weights inside a circle; cells on the circle are weighted by the fraction inside.

    A circle smaller than a pixel is that pixel.
    """
    parts, radius = 8, max(radius, 0.5)
    half = math.ceil(radius)
    line = (np.arange((2 * half + 1) * parts) + 0.5) / parts - half - 0.5
    inside = line[:, None] ** 2 + line[None, :] ** 2 <= radius**2
    cells = inside.reshape(2 * half + 1, parts, 2 * half + 1, parts).sum(axis=(1, 3), dtype=np.float64)
    return cells / cells.sum()


def streak(length: float, sigma: float, angle: float) -> Plane:
    """Kernel of one-sided motion blur: weights of half a Gaussian along a line.

    Args:
        length: length of the line, in pixels.
        sigma: deviation of the Gaussian, in pixels.
        angle: angle in degrees; 0 blurs to the left.
    """
    along = np.linspace(0, length, math.ceil(length) + 1)
    weights = np.exp(-(along**2) / (2 * sigma**2))
    half = math.ceil(length) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1))
    rows = half - along * math.sin(math.radians(angle))
    columns = half - along * math.cos(math.radians(angle))
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    for down in (0, 1):  # the weight of a point between cells is distributed to them
        for right in (0, 1):
            share = abs(1 - down - (rows - top)) * abs(1 - right - (columns - left))
            np.add.at(kernel, (top + down, left + right), weights * share)
    return kernel / kernel.sum()


def zoomed(image: FloatImage, factor: float) -> FloatImage:
    """Zoom into the centre of the image by `factor`, bilinearly, keeping the size."""
    height, width = image.shape[:2]
    rows, columns = height * (1 - 1 / factor) / 2, width * (1 - 1 / factor) / 2
    box = (columns, rows, width - columns, height - rows)
    planes = [Pillow.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(image.astype(np.float32), 2, 0)]
    larger = [np.asarray(plane.resize((width, height), Pillow.Resampling.BILINEAR, box)) for plane in planes]
    return np.stack(larger, axis=2)


def cloud(height: int, width: int, decay: float, random: np.random.Generator) -> Plane:
    """Plasma fractal with values in [0, 1] (Fournier et al., 1982, "Computer rendering of stochastic models").

    Diamond-square algorithm on a torus whose side is a power of two; heights are divided by decay² in each step.
    """
    side = 1 << max(1, math.ceil(math.log2(max(height, width))))
    land = np.zeros((side, side))
    step, height_of_step = side, 1.0
    while step > 1:
        half = step // 2
        corners = land[::step, ::step]
        centres = _mean_of_four(corners, np.roll(corners, -1, 0), np.roll(corners, -1, 1), np.roll(corners, -1, (0, 1)))
        land[half::step, half::step] = centres = _rough(centres, height_of_step, random)
        across = _mean_of_four(centres, np.roll(centres, 1, 0), corners, np.roll(corners, -1, 1))
        down = _mean_of_four(centres, np.roll(centres, 1, 1), corners, np.roll(corners, -1, 0))
        land[::step, half::step] = _rough(across, height_of_step, random)
        land[half::step, ::step] = _rough(down, height_of_step, random)
        step, height_of_step = half, height_of_step / decay**2
    land -= land.min()
    return (land / max(land.max(), np.finfo(float).tiny))[:height, :width]


def _mean_of_four(*planes: Plane) -> Plane:
    return sum(planes) / 4  # type: ignore[return-value]


def _rough(plane: Plane, height: float, random: np.random.Generator) -> Plane:
    return plane + random.uniform(-height, height, plane.shape)
