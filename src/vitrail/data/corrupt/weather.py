"""Weather corruptions: snow, frost, fog, brightness (Hendrycks and Dietterich, 2019).

The published frost is blended from photographs of frozen windows; this one generates crystals from fractals, so that no
images have to be shipped. It has the published blend weights, and the mean colour, contrast and roughness of the
photographs, but is not the same: compare models with it, but do not compare its numbers with published ones.
"""

import numpy as np

from .filters import Plane, cloud, convolved, streak, zoomed
from .recipe import FloatImage, corruption, reach

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the brightness (ITU-R BT.601)."""

ICE = (0.82, 0.94, 1.0)
"""Colour of the thickest frost."""


@corruption(
    (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )
)
def snow(image: FloatImage, level: tuple[float, ...], random: np.random.Generator) -> FloatImage:
    """Snow: flakes that fall from left and right over a whitened image.

    Level: mean and deviation of the noise of the flakes, their size, the threshold of a flake, radius and deviation of
    their streaks in pixels, and the fraction of the image's colours that is kept.
    """
    mean, deviation, size, threshold, radius, sigma, kept = level
    noise = random.normal(mean, deviation, (*image.shape[:2], 1))
    flakes = zoomed(noise, max(1.0, size * reach(image)))
    flakes = np.clip(np.where(flakes < threshold, 0, flakes), 0, 1)
    smear = streak(2 * radius * reach(image), sigma * reach(image), random.uniform(-135, -45))
    flakes = convolved(flakes, smear, border="edge")
    white = kept * image + (1 - kept) * np.maximum(image, grey(image) * 1.5 + 0.5)
    # The same flakes upside down, cropped for an image that is not square.
    return white + flakes + flakes[::-1, ::-1]


@corruption(((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)))
def frost(image: FloatImage, level: tuple[float, float], random: np.random.Generator) -> FloatImage:
    """Frost: crystals over a darkened image; level: the weights of the image and of the ice."""
    kept, ice = level
    height, width, channels = image.shape
    tint = np.array(ICE) if channels == 3 else np.full(1, np.dot(ICE, LUMA))
    return kept * image + ice * crystals(height, width, random)[:, :, None] * tint


@corruption(((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)))
def fog(image: FloatImage, level: tuple[float, float], random: np.random.Generator) -> FloatImage:
    """Fog: a cloud over the image, at the same brightness; level: thickness and smoothness."""
    thickness, decay = level
    brightest = image.max()
    height, width, _ = image.shape
    clouded = image + thickness * cloud(height, width, decay, random)[:, :, None]
    return clouded * brightest / (brightest + thickness)


@corruption((0.1, 0.2, 0.3, 0.4, 0.5))
def brightness(image: FloatImage, more: float, random: np.random.Generator) -> FloatImage:
    """Brightness: the value in HSV is increased, up to 1."""
    value = image.max(axis=2, keepdims=True)
    brighter = np.minimum(value + more, 1)
    return np.where(value > 0, image * brighter / np.where(value > 0, value, 1), brighter)


def grey(image: FloatImage) -> FloatImage:
    """Brightness, (H, W, 1)."""
    return image if image.shape[2] == 1 else (image @ np.array(LUMA, image.dtype))[:, :, None]


def crystals(height: int, width: int, random: np.random.Generator) -> Plane:
    """Frost in [0, 1]: needles at the middle height of plasma fractals, with varying density."""
    ridges = [1 - np.abs(2 * cloud(height, width, 1.15, random) - 1) for _ in range(3)]
    needles = np.max([ridge**6 for ridge in ridges], axis=0)
    cover = cloud(height, width, 1.8, random)
    return np.clip(0.46 + 0.5 * cover * needles + 0.2 * cover, 0, 1)
