"""Cue-conflict images: the shape of one class with the texture of another, made from images with object masks.

Geirhos et al. (2019), "ImageNet-trained CNNs are biased towards texture", section 2.2, use style transfer. Here no
second network is needed: the outline of one object is filled with pieces of another.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, UInt8
from numpy import ndarray

from ..errors import VitrailError
from .seeds import derive

Image = UInt8[ndarray, "H W C"]
Mask = Bool[ndarray, "H W"]


def texture(image: Image, mask: Mask, cell: int, seed: int = 0) -> Image:
    """Make a texture image: square pieces of the object, `cell` pixels wide, tiled in random order.

    Pieces are completely on the object, or as far as possible. They are small enough to hide its outline.

    Raises:
        VitrailError: the mask is empty, or a cell does not fit into the image.
    """
    height, width = mask.shape
    if not 1 <= cell <= min(height, width):
        raise VitrailError(f"pieces of {cell} px cannot be cut from {height}×{width} px: use 1 to {min(height, width)}")
    if not mask.any():
        raise VitrailError("the mask is empty: there is no object whose texture could be taken")
    covered = _box_sums(mask, cell)
    tops, lefts = np.nonzero(covered == covered.max())
    rows, columns = -(-height // cell), -(-width // cell)
    chosen = np.random.default_rng(derive(seed, "texture")).integers(len(tops), size=rows * columns)
    pieces = [image[tops[i] : tops[i] + cell, lefts[i] : lefts[i] + cell] for i in chosen]
    lines = [np.concatenate(pieces[row * columns : (row + 1) * columns], axis=1) for row in range(rows)]
    return np.concatenate(lines, axis=0)[:height, :width]


def conflict(shape: Mask, surface: Image, background: int = 255) -> Image:
    """Fill the outline of one object with the texture of another, on a uniform background.

    Raises:
        VitrailError: the sizes differ.
    """
    if shape.shape != surface.shape[:2]:
        raise VitrailError(f"the outline is {shape.shape}, the texture {surface.shape[:2]}: make them of one size")
    return np.where(shape[:, :, None], surface, np.uint8(background))


@dataclass(frozen=True, slots=True)
class Cues:
    """Fractions of decisions by shape and by texture.

    Attributes:
        shape: fraction of the images for which the shape's class is predicted.
        texture: fraction of the images for which the texture's class is predicted.
        bias: shape / (shape + texture), the shape bias of Geirhos et al.; None if both are 0, and not informative if
            both are small.
        count: number of images.
    """

    shape: float
    texture: float
    bias: float | None
    count: int


def cues(predicted: Sequence[int], shapes: Sequence[int], textures: Sequence[int]) -> Cues:
    """Compute the fractions of predictions by shape and by texture; images with agreeing cues are left out.

    Raises:
        VitrailError: no image has disagreeing cues.
    """
    rows = [row for row in zip(predicted, shapes, textures, strict=True) if row[1] != row[2]]
    if not rows:
        raise VitrailError("there is no image whose shape and texture disagree: give images of two classes or more")
    shape = sum(guess == one for guess, one, _ in rows) / len(rows)
    surface = sum(guess == other for guess, _, other in rows) / len(rows)
    both = shape + surface
    return Cues(shape, surface, shape / both if both else None, len(rows))


def partners(labels: Sequence[int], seed: int = 0) -> list[int]:
    """For each image, the index of an image of another class, drawn by the seed.

    Raises:
        VitrailError: all images are of one class.
    """
    if len(set(labels)) < 2:
        raise VitrailError("conflict images need two classes or more")
    found = []
    for position, label in enumerate(labels):
        others = [other for other, its in enumerate(labels) if its != label]
        found.append(others[derive(seed, "partner", position) % len(others)])
    return found


def _box_sums(mask: Mask, cell: int) -> Int[ndarray, "h w"]:
    """Number of mask pixels in each box of side `cell`, by its upper left corner."""
    sums = np.pad(mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    return sums[cell:, cell:] - sums[:-cell, cell:] - sums[cell:, :-cell] + sums[:-cell, :-cell]
