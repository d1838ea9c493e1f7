"""Noise: of weak light, of counting photons, of broken pixels (Hendrycks and Dietterich, 2019)."""

import numpy as np

from .recipe import FloatImage, corruption


@corruption((0.08, 0.12, 0.18, 0.26, 0.38))
def gaussian_noise(image: FloatImage, deviation: float, random: np.random.Generator) -> FloatImage:
    """Normal noise on every value; `deviation` where the image goes from 0 to 1."""
    return image + random.normal(0, deviation, image.shape)


@corruption((60, 25, 12, 5, 3))
def shot_noise(image: FloatImage, photons: int, random: np.random.Generator) -> FloatImage:
    """What a sensor counts of light that is `photons` a pixel where it is white (Poisson)."""
    return random.poisson(image * photons) / photons


@corruption((0.03, 0.06, 0.09, 0.17, 0.27))
def impulse_noise(image: FloatImage, share: float, random: np.random.Generator) -> FloatImage:
    """Salt and pepper: a share of all values becomes 0 or 1, as often the one as the other."""
    broken = random.random(image.shape) < share
    return np.where(broken, random.random(image.shape) < 0.5, image)
