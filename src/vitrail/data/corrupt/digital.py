"""Digital: weak contrast, an elastic surface, coarse pixels, JPEG (Hendrycks and Dietterich, 2019)."""

from io import BytesIO

import numpy as np
from PIL import Image as Pillow

from .filters import scipy
from .recipe import FloatImage, Image, corruption, reach, to_bytes

_ELASTIC_SIDE = 244
"""The published code counts lengths from 244, not from 224."""


@corruption((0.4, 0.3, 0.2, 0.1, 0.05))
def contrast(image: FloatImage, kept: float, random: np.random.Generator) -> FloatImage:
    """Every channel moves towards its mean; `kept` of the distance remains."""
    mean = image.mean(axis=(0, 1), keepdims=True)
    return (image - mean) * kept + mean


@corruption(((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)))
def elastic_transform(image: FloatImage, level: tuple[float, ...], random: np.random.Generator) -> FloatImage:
    """Sheared a little, and pulled hither and thither (Simard et al., 2003, "Best practices for CNNs").

    Level, in parts of the side: how far pixels are pulled, the deviation of the blur that makes neighbours go together,
    and how far the corners of the shear move. Sheared and pulled in one step, so that it is interpolated only once.
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
    """Made smaller, `share` of each side, and as large as before again."""
    height, width = image.shape[:2]
    small = (max(1, int(width * share)), max(1, int(height * share)))
    coarse = pillow(to_bytes(image)).resize(small, Pillow.Resampling.BOX)
    return _array(coarse.resize((width, height), Pillow.Resampling.BOX))


@corruption((25, 18, 15, 10, 7))
def jpeg_compression(image: FloatImage, quality: int, random: np.random.Generator) -> FloatImage:
    """Saved as JPEG of this quality. Its blocks are 8 px however small the image is."""
    file = BytesIO()
    pillow(to_bytes(image)).save(file, "JPEG", quality=quality)
    return _array(Pillow.open(file))


def pillow(image: Image) -> Pillow.Image:
    """An image of one or three channels as Pillow has it."""
    return Pillow.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


def _array(image: Pillow.Image) -> FloatImage:
    values = np.asarray(image, dtype=np.float32) / 255
    return values if values.ndim == 3 else values[:, :, None]


def _shear(image: FloatImage, most: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(matrix, offset) from positions in the new image to those in the old: three corners move up to `most` pixels."""
    middle, side = np.array(image.shape[:2]) // 2, max(1, min(image.shape[:2]) // 3)
    old = middle + side * np.array([[1, 1], [-1, 1], [-1, -1]], dtype=float)
    new = old + random.uniform(-most, most, (3, 2))
    solved = np.linalg.lstsq(np.column_stack([new, np.ones(3)]), old, rcond=None)[0]
    return solved[:2].T, solved[2]
