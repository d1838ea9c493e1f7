"""Blur corruptions: defocus, frosted glass, motion, zoom (Hendrycks and Dietterich, 2019)."""

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from .filters import convolved, disk, softened, streak, zoomed
from .recipe import FloatImage, corruption, reach


@corruption((3, 4, 6, 8, 10))
def defocus_blur(image: FloatImage, radius: int, random: np.random.Generator) -> FloatImage:
    """Defocus blur: convolution with a disk of `radius` pixels."""
    return convolved(image, disk(radius * reach(image)))


@corruption(((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)))
def glass_blur(image: FloatImage, level: tuple[float, int, int], random: np.random.Generator) -> FloatImage:
    """Frosted glass: blur, random displacement of pixels, blur.

    Level: deviation of the blurs and largest displacement in pixels, and number of displacements.
    """
    sigma, most, times = level
    most = max(1, round(most * reach(image)))
    glass = softened(image, sigma * reach(image))
    for _ in range(times):
        glass = displaced(glass, random.integers(-most, most, (2, *image.shape[:2])), most)
    return softened(glass, sigma * reach(image))


@corruption(((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)))
def motion_blur(image: FloatImage, level: tuple[int, int], random: np.random.Generator) -> FloatImage:
    """Motion blur along a line within 45° of horizontal; level: radius and deviation in pixels."""
    radius, sigma = (length * reach(image) for length in level)
    return convolved(image, streak(2 * radius, sigma, random.uniform(-45, 45)), border="edge")


@corruption(((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)))
def zoom_blur(image: FloatImage, level: tuple[float, float], random: np.random.Generator) -> FloatImage:
    """Zoom blur: mean of the image and of zooms into it. Level: largest factor and step."""
    end, step = level
    layers = [image, *(zoomed(image, factor) for factor in np.arange(1, end, step))]
    return np.mean(layers, axis=0)


def displaced(image: FloatImage, by: Int[ndarray, "2 H W"], most: int) -> FloatImage:
    """Copy to every pixel the colour of a neighbour, `by` rows and columns away, sequentially from the last pixel.

    A copied colour may be copied again, as in the published code, whose swap of two rows of an array copies one of
    them. The outermost `most` pixels are unchanged.
    """
    height, width = image.shape[:2]
    rows, columns = np.indices((height, width))
    moves = (rows > most) & (rows <= height - most) & (columns > most) & (columns <= width - most)
    own = np.arange(height * width)
    taken = np.where(moves, (rows + by[0]) * width + columns + by[1], own.reshape(height, width)).ravel()
    # A neighbour with a higher index has been overwritten already: follow these to the first that has not.
    first = np.maximum(taken, own)
    while not np.array_equal(further := first[first], first):
        first = further
    return image.reshape(height * width, -1)[taken[first]].reshape(image.shape)
