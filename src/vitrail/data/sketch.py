"""Line drawings of images, without colour and texture: Sobel edges and XDoG."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from .corrupt.filters import scipy, softened
from .corrupt.recipe import Image, check, reach, to_bytes
from .corrupt.weather import grey


def sobel(image: Image) -> Image:
    """Dark edges on white: the magnitude of the gradient of the brightness (Sobel and Feldman, 1968).

    The strongest hundredth of the edges is black. An image (H, W, C) of bytes gives one of the same shape.
    """
    plane = _grey(image)
    ndimage = scipy("ndimage")
    edges = np.hypot(ndimage.sobel(plane[:, :, 0], axis=0), ndimage.sobel(plane[:, :, 0], axis=1))
    strongest = np.quantile(edges, 0.99)
    # Rounding creates faint edges in an image without any.
    return _drawn(1 - edges / max(strongest, 1e-3), image)


def xdog(
    image: Image, *, sigma: float = 1.0, sharp: float = 20.0, threshold: float = 0.5, slope: float = 10.0
) -> Image:
    """Ink drawing: extended difference of Gaussians (Winnemöller et al., 2012, "XDoG", section 2.4).

    Args:
        sigma: deviation of the finer Gaussian, in pixels of an image of 224 px; the other is 1.6 times as wide.
        sharp: weight of edges relative to brightness (p).
        threshold: brightness above which the result is white (ε), 0 to 1.
        slope: steepness of the transition to black below it (φ).
    """
    plane = _grey(image)
    fine = sigma * reach(plane)
    sharpened = (1 + sharp) * softened(plane, fine) - sharp * softened(plane, 1.6 * fine)
    ink = np.where(sharpened >= threshold, 1, 1 + np.tanh(slope * (sharpened - threshold)))
    return _drawn(ink[:, :, 0], image)


SKETCHES = {"sobel": sobel, "xdog": xdog}


def _grey(image: Image) -> Float[ndarray, "H W 1"]:
    check(image, 1)
    return grey(image.astype(np.float32) / 255)


def _drawn(plane: Float[ndarray, "H W"], image: Image) -> Image:
    return np.repeat(to_bytes(plane)[:, :, None], image.shape[2], axis=2)
