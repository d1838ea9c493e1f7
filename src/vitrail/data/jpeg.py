"""JPEGs at a fraction of their size; and ordinary colour ones without damage, decoded and checked in one pass."""

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from .damage import is_lossless
from .orientation import turn_of

_PARTS = (8, 4, 2)


def largest_part(data: bytes, image: Image.Image, least: int | None) -> int:
    """The largest of 8, 4, 2 and 1 by which the shorter side can be divided and still is at least `least`.

    Sides that it does not divide are rounded up: the last row or column is a part of a pixel, and the others are moved,
    at the far edge by at most a quarter of a pixel of an image of `least` pixels.

    Args:
        data: the bytes of the file.
        image: the same file opened by Pillow.
        least: pixels; None: the whole size.
    """
    if least is None or image.format not in ("JPEG", "MPO") or is_lossless(data):
        return 1
    side = min(image.size)
    excess = {part: max(-length % part for length in image.size) for part in _PARTS}
    return next((part for part in _PARTS if side >= part * least and side >= 4 * excess[part] * least), 1)


def sound_jpeg(data: bytes, image: Image.Image, part: int = 1) -> UInt8[Tensor, "3 H W"] | None:
    """Decode a colour JPEG, upright; None if libjpeg has any warning about it, or simplejpeg cannot read its kind.

    Pillow's decoder is libjpeg-turbo too and gives the same values, but drops the warnings. The result has the layout
    of the file, channels last, whose resize is faster.

    Args:
        data: the bytes of the file.
        image: the same file opened by Pillow, with the size to decode at and its EXIF block; it is not decoded.
        part: 2, 4 or 8 to decode at that fraction of the file's size.
    """
    try:
        import simplejpeg
    except ImportError:
        return None
    try:
        array = simplejpeg.decode_jpeg(data, "RGB", min_height=image.height, min_width=image.width, min_factor=part)
    except ValueError:
        return None
    if array.shape[:2] != (image.height, image.width):
        return None
    if (turn := turn_of(image)) is not None:
        array = np.array(Image.fromarray(array).transpose(turn))
    return torch.from_numpy(array).permute(2, 0, 1)
