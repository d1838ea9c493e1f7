"""Pictures with the shape of one thing and the surface of another, made of pictures whose objects are known.

Geirhos et al. (2019), "ImageNet-trained CNNs are biased towards texture", section 2.2, make theirs with style transfer.
These need no second network: the outline of one object, filled with pieces of another.
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
    """A picture full of what the object is made of: pieces of it, `cell` pixels wide, side by side in random order.

    Pieces lie wholly on the object, or as far as it allows. They are small, so that nothing of its outline is left.

    Raises:
        VitrailError: an object that is not there, or a cell that does not fit into the picture.
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
    """The outline of one object filled with the surface of another, on an even background.

    Raises:
        VitrailError: sizes that differ.
    """
    if shape.shape != surface.shape[:2]:
        raise VitrailError(f"the outline is {shape.shape}, the texture {surface.shape[:2]}: make them of one size")
    return np.where(shape[:, :, None], surface, np.uint8(background))


@dataclass(frozen=True, slots=True)
class Cues:
    """What a model goes by.

    Attributes:
        shape: part of the pictures whose shape it names.
        texture: part of the pictures whose texture it names.
        bias: shape / (shape + texture), the shape bias of Geirhos et al.; None where it names neither. By itself it
            says nothing about a model that names both rarely.
        count: pictures.
    """

    shape: float
    texture: float
    bias: float | None
    count: int


def cues(predicted: Sequence[int], shapes: Sequence[int], textures: Sequence[int]) -> Cues:
    """What the predictions for conflict pictures go by; pictures whose two cues agree are left out.

    Raises:
        VitrailError: there is no picture whose cues disagree.
    """
    rows = [row for row in zip(predicted, shapes, textures, strict=True) if row[1] != row[2]]
    if not rows:
        raise VitrailError("there is no picture whose shape and texture disagree: give pictures of two classes or more")
    shape = sum(said == one for said, one, _ in rows) / len(rows)
    surface = sum(said == other for said, _, other in rows) / len(rows)
    both = shape + surface
    return Cues(shape, surface, shape / both if both else None, len(rows))


def partners(labels: Sequence[int], seed: int = 0) -> list[int]:
    """For each picture the number of one of another class, drawn by seed.

    Raises:
        VitrailError: all are of one class.
    """
    if len(set(labels)) < 2:
        raise VitrailError("conflict pictures need two classes or more")
    found = []
    for place, label in enumerate(labels):
        others = [other for other, its in enumerate(labels) if its != label]
        found.append(others[derive(seed, "partner", place) % len(others)])
    return found


def _box_sums(mask: Mask, cell: int) -> Int[ndarray, "h w"]:
    """How many pixels of the mask lie in the box whose upper left corner is here."""
    sums = np.pad(mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    return sums[cell:, cell:] - sums[:-cell, cell:] - sums[cell:, :-cell] + sums[:-cell, :-cell]
