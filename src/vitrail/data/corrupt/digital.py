"""Digital corruptions: contrast, elastic transform, pixelation, JPEG (Hendrycks and Dietterich, 2019)."""

from io import BytesIO

import numpy as np
from PIL import Image as Pillow

from .filters import scipy
from .recipe import FloatImage, Image, corruption, reach, to_bytes

_ELASTIC_SIDE = 244
"""Side in pixels to which the published code scales lengths: 244, not 224."""


@corruption((0.4, 0.3, 0.2, 0.1, 0.05))
def contrast(image: FloatImage, kept: float, random: np.random.Generator) -> FloatImage:
    """Low contrast: every channel is moved towards its mean, keeping the fraction `kept` of the distance."""
    mean = image.mean(axis=(0, 1), keepdims=True)
    return (image - mean) * kept + mean


@corruption(((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)))
def elastic_transform(image: FloatImage, level: tuple[float, ...], random: np.random.Generator) -> FloatImage:
    """Elastic transform: a shear and smooth random displacements (Simard et al., 2003, "Best practices for CNNs").

    Level, in fractions of the side: size of the displacements, deviation of the blur that smooths them, and size of the
    shear at the corners. Both are applied in one step, with one interpolation.
    """
    pull, together, shear = (part * _ELASTIC_SIDE * reach(image) for part in level)
    ndimage = scipy("ndimage")
    noise = random.uniform(-1, 1, (2, *image.shape[:2]))
    pulled = [ndimage.gaussian_filter(field, together, mode="reflect", truncate=3) * pull for field in noise]
    matrix, offset = _shear(image, shear, random)
    positions = np.indices(image.shape[:2]) + np.stack(pulled)
    taken = np.einsum("ij,jhw->ihw", matrix, positions) + offset[:, None, None]
    channels = np.moveaxis(image, 2, 0)
    return np.stack([ndimage.map_coordinates(plane, taken, order=1, mode="mirror") for plane in channels], axis=2)


@corruption((0.6, 0.5, 0.4, 0.3, 0.25))
def pixelate(image: FloatImage, share: float, random: np.random.Generator) -> FloatImage:
    """Pixelation: shrink to the fraction `share` of each side, and enlarge to the original size."""
    height, width = image.shape[:2]
    small = (max(1, int(width * share)), max(1, int(height * share)))
    coarse = pillow(to_bytes(image)).resize(small, Pillow.Resampling.BOX)
    return _array(coarse.resize((width, height), Pillow.Resampling.BOX))


@corruption((25, 18, 15, 10, 7))
def jpeg_compression(image: FloatImage, quality: int, random: np.random.Generator) -> FloatImage:
    """JPEG compression of this quality. Blocks are 8 px for every image size."""
    file = BytesIO()
    pillow(to_bytes(image)).save(file, "JPEG", quality=quality)
    return _array(Pillow.open(file))


def pillow(image: Image) -> Pillow.Image:
    """Convert an image of one or three channels to a Pillow image."""
    return Pillow.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


def _array(image: Pillow.Image) -> FloatImage:
    values = np.asarray(image, dtype=np.float32) / 255
    return values if values.ndim == 3 else values[:, :, None]


def _shear(image: FloatImage, most: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(matrix, offset) from positions in the new to those in the old image; three corners move up to `most` pixels."""
    middle, side = np.array(image.shape[:2]) // 2, max(1, min(image.shape[:2]) // 3)
    old = middle + side * np.array([[1, 1], [-1, 1], [-1, -1]], dtype=float)
    new = old + random.uniform(-most, most, (3, 2))
    solved = np.linalg.lstsq(np.column_stack([new, np.ones(3)]), old, rcond=None)[0]
    return solved[:2].T, solved[2]
