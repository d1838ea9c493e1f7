"""Blur: out of focus, behind frosted glass, in motion, coming nearer (Hendrycks and Dietterich, 2019)."""

import numpy as np

from .filters import convolved, disk, softened, streak, zoomed
from .recipe import Picture, corruption, reach


@corruption((3, 4, 6, 8, 10))
def defocus_blur(picture: Picture, radius: int, random: np.random.Generator) -> Picture:
    """A point becomes a disk of `radius` pixels."""
    return convolved(picture, disk(radius * reach(picture)))


@corruption(((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)))
def glass_blur(picture: Picture, level: tuple[float, int, int], random: np.random.Generator) -> Picture:
    """Blurred, pixels displaced a few times, blurred again.

    Level: deviation of the blurs and largest displacement in pixels, and how many times. The published code swaps
    neighbours one after another; here every pixel takes the colour of a neighbour, all at once, which looks the same
    and is a hundred times as fast.
    """
    sigma, most, times = level
    most = max(1, round(most * reach(picture)))
    glass = softened(picture, sigma * reach(picture))
    rows, columns = np.indices(picture.shape[:2])
    for _ in range(times):
        down, right = random.integers(-most, most, (2, *picture.shape[:2]))
        glass = glass[np.clip(rows + down, 0, picture.shape[0] - 1), np.clip(columns + right, 0, picture.shape[1] - 1)]
    return softened(glass, sigma * reach(picture))


@corruption(((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)))
def motion_blur(picture: Picture, level: tuple[int, int], random: np.random.Generator) -> Picture:
    """Smeared to one side along a line within 45° of level; radius and deviation in pixels."""
    radius, sigma = (length * reach(picture) for length in level)
    return convolved(picture, streak(2 * radius, sigma, random.uniform(-45, 45)), border="edge")


@corruption(((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)))
def zoom_blur(picture: Picture, level: tuple[float, float], random: np.random.Generator) -> Picture:
    """The mean of the picture and of zooms into it, from 1 up to a factor, step by step."""
    end, step = level
    layers = [picture, *(zoomed(picture, factor) for factor in np.arange(1, end, step))]
    return np.mean(layers, axis=0)
