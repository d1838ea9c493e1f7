"""Noise corruptions: Gaussian, shot and impulse noise (Hendrycks and Dietterich, 2019)."""

import numpy as np

from .recipe import FloatImage, corruption


@corruption((0.08, 0.12, 0.18, 0.26, 0.38))
def gaussian_noise(image: FloatImage, deviation: float, random: np.random.Generator) -> FloatImage:
    """Gaussian noise on every value, with `deviation` on the scale of [0, 1]."""
    return image + random.normal(0, deviation, image.shape)


@corruption((60, 25, 12, 5, 3))
def shot_noise(image: FloatImage, photons: int, random: np.random.Generator) -> FloatImage:
    """Shot noise: Poisson counts of a sensor with `photons` for a white pixel."""
    return random.poisson(image * photons) / photons


@corruption((0.03, 0.06, 0.09, 0.17, 0.27))
def impulse_noise(image: FloatImage, share: float, random: np.random.Generator) -> FloatImage:
    """Salt and pepper noise: the fraction `share` of all values becomes 0 or 1, with equal probability."""
    broken = random.random(image.shape) < share
    return np.where(broken, random.random(image.shape) < 0.5, image)
