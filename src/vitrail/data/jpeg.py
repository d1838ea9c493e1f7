"""Ordinary colour JPEGs without damage, decoded and checked in one pass."""

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from .orientation import turn_of


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
