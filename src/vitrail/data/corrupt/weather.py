"""Weather: snow, frost, fog, bright light (Hendrycks and Dietterich, 2019).

Their frost is laid over from photographs of frozen windows; this one grows its crystals from fractals, so that no
image has to be shipped. It is mixed in by the published weights, and has the mean colour, the contrast and the
roughness of their photographs, but it is not the same: compare models with it, and do not compare its numbers with
published ones.
"""

import numpy as np

from .filters import Plane, cloud, convolved, streak, zoomed
from .recipe import FloatImage, corruption, reach

LUMA = (0.299, 0.587, 0.114)
"""What red, green and blue add to brightness (ITU-R BT.601)."""

ICE = (0.82, 0.94, 1.0)
"""The colour of frost where it is thickest."""


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
    """Flakes that fall from left and right over a whitened image.

    Level: mean and deviation of the noise that flakes are cut from, their size, the threshold above which a flake is,
    radius and deviation of their streaks in pixels, and how much of the image keeps its colours.
    """
    mean, deviation, size, threshold, radius, sigma, kept = level
    noise = random.normal(mean, deviation, (*image.shape[:2], 1))
    flakes = zoomed(noise, max(1.0, size * reach(image)))
    flakes = np.clip(np.where(flakes < threshold, 0, flakes), 0, 1)
    smear = streak(2 * radius * reach(image), sigma * reach(image), random.uniform(-135, -45))
    flakes = convolved(flakes, smear, border="edge")
    white = kept * image + (1 - kept) * np.maximum(image, grey(image) * 1.5 + 0.5)
    # The same flakes upside down: for an image that is not square the rest of them stays out.
    return white + flakes + flakes[::-1, ::-1]


@corruption(((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)))
def frost(image: FloatImage, level: tuple[float, float], random: np.random.Generator) -> FloatImage:
    """Crystals over a darkened image; level: the weights of the image and of the ice."""
    kept, ice = level
    height, width, channels = image.shape
    tint = np.array(ICE) if channels == 3 else np.full(1, np.dot(ICE, LUMA))
    return kept * image + ice * crystals(height, width, random)[:, :, None] * tint


@corruption(((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)))
def fog(image: FloatImage, level: tuple[float, float], random: np.random.Generator) -> FloatImage:
    """A cloud in front, and as bright as before; level: how thick it is, and how smooth."""
    thickness, decay = level
    brightest = image.max()
    height, width, _ = image.shape
    clouded = image + thickness * cloud(height, width, decay, random)[:, :, None]
    return clouded * brightest / (brightest + thickness)


@corruption((0.1, 0.2, 0.3, 0.4, 0.5))
def brightness(image: FloatImage, more: float, random: np.random.Generator) -> FloatImage:
    """The value of hue, saturation and value grows, up to 1; the colour stays."""
    value = image.max(axis=2, keepdims=True)
    brighter = np.minimum(value + more, 1)
    return np.where(value > 0, image * brighter / np.where(value > 0, value, 1), brighter)


def grey(image: FloatImage) -> FloatImage:
    """Brightness, (H, W, 1)."""
    return image if image.shape[2] == 1 else (image @ np.array(LUMA, image.dtype))[:, :, None]


def crystals(height: int, width: int, random: np.random.Generator) -> Plane:
    """Frost from 0 to 1: needles where fractal landscapes cross their middle height, denser in some places."""
    ridges = [1 - np.abs(2 * cloud(height, width, 1.15, random) - 1) for _ in range(3)]
    needles = np.max([ridge**6 for ridge in ridges], axis=0)
    cover = cloud(height, width, 1.8, random)
    return np.clip(0.46 + 0.5 * cover * needles + 0.2 * cover, 0, 1)
