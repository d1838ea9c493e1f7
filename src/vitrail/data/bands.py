"""Reads images that are arrays of bands, such as `.npy` files."""

from io import BytesIO

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's


class RefusedError(Exception):
    """An image cannot be used, with the reason for the user; `decode` adds the name of the file."""


def from_npy(data: bytes, max_pixels: int, strict: bool = True) -> Shaped[Tensor, "C H W"]:
    """Decode the bytes of a `.npy` file (H, W), (H, W, C) or (C, H, W); for the arguments see `load_npy`."""
    return scale_bands(channels_first(load_npy(data, max_pixels, strict)))


def load_npy(data: bytes, max_pixels: int, strict: bool = True) -> np.ndarray:
    """Load the bytes of a `.npy` file of numbers.

    Args:
        data: the bytes of the file.
        max_pixels: a quarter of the largest number of values.
        strict: refuse a file that is longer than its header says.
    """
    file = BytesIO(data)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise RefusedError("a .npy of Python objects: save an array of numbers")
    count = int(np.prod(shape, dtype=object))
    if count > max_pixels * 4:
        raise RefusedError(f"too large: {count:,} values, the limit is {max_pixels * 4:,}")
    if count * dtype.itemsize > len(data) - file.tell():
        raise RefusedError("truncated: the file is shorter than its header requires")
    if strict and count * dtype.itemsize < len(data) - file.tell():
        raise RefusedError("damaged (the file is longer than its header requires)")
    file.seek(0)
    loaded: np.ndarray = np.load(file, allow_pickle=False)
    return loaded


def channels_first(array: np.ndarray) -> np.ndarray:
    """(H, W), (H, W, C) or (C, H, W) -> (C, H, W): the channel axis is the shorter of the first and the last."""
    if array.ndim == 2:
        return array[None]
    if array.ndim != 3:
        raise RefusedError(f"an array of shape {array.shape}, but (H, W), (H, W, C) or (C, H, W) is needed")
    return array if array.shape[0] < array.shape[2] else np.moveaxis(array, 2, 0)


def scale_bands(array: np.ndarray) -> Shaped[Tensor, "C H W"]:
    """Convert values by their type: see the table of `vitrail.data.decode`.

    Only types whose white is known are scaled. The range of a wide integer says nothing about its values: divided by
    it, 0 to 255 in 32 bits would become 0 to 10⁻⁷.
    """
    if array.size == 0:
        raise RefusedError(f"no pixels: its shape is {array.shape}")
    kind = array.dtype.kind
    if array.dtype == np.uint8:
        return torch.from_numpy(np.array(array, order="C"))
    if kind == "b":
        return torch.from_numpy(np.where(array, np.uint8(255), np.uint8(0)))
    if kind == "u" and array.itemsize == 2:  # in either byte order
        return torch.from_numpy((array / 65535).astype(np.float32, order="C"))
    if kind not in "iuf":
        raise RefusedError(f"values of type {array.dtype}, but integers or floats are needed")
    with np.errstate(over="ignore", invalid="ignore"):
        values = torch.from_numpy(array.astype(np.float32, order="C"))
    if not torch.isfinite(values).all():
        raise RefusedError("has values that are not finite (NaN or infinity)")
    return values


def fit_bands(image: Shaped[Tensor, "C H W"], channels: int | None) -> Shaped[Tensor, "D H W"]:
    """Convert bands to `channels`: unchanged, grey repeated three times, or the luma of three."""
    have = image.shape[0]
    if channels is None or channels == have:
        return image
    if (have, channels) == (1, 3):
        return image.expand(3, -1, -1).contiguous()
    if (have, channels) == (3, 1):
        luma = torch.einsum("chw,c->hw", image.float(), torch.tensor(_LUMA))[None]
        return luma if image.is_floating_point() else luma.round().to(torch.uint8)
    raise RefusedError(f"{have} channel{'s' * (have != 1)}, but {channels} are needed")
