"""Reads images that are arrays of bands: `.npy` files and TIFFs of n bands."""

from io import BytesIO

import numpy as np
import torch
from jaxtyping import Shaped
from PIL import Image
from torch import Tensor

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's
_SAMPLES_PER_PIXEL = 277


class RefusedError(Exception):
    """An image cannot be used, with the reason for the user; `decode` adds the name of the file."""


def from_npy(data: bytes, max_pixels: int) -> Shaped[Tensor, "C H W"]:
    """Decode the bytes of a `.npy` file (H, W), (H, W, C) or (C, H, W)."""
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
    file.seek(0)
    return scale_bands(channels_first(np.load(file, allow_pickle=False)))


def channels_first(array: np.ndarray) -> np.ndarray:
    """(H, W), (H, W, C) or (C, H, W) -> (C, H, W): the channel axis is the shorter of the first and the last."""
    if array.ndim == 2:
        return array[None]
    if array.ndim != 3:
        raise RefusedError(f"an array of shape {array.shape}, but (H, W), (H, W, C) or (C, H, W) is needed")
    return array if array.shape[0] < array.shape[2] else np.moveaxis(array, 2, 0)


def tiff_has_bands(image: Image.Image) -> bool:
    """Whether this TIFF has more bands than Pillow reads: further samples, or grey pages."""
    samples = image.tag_v2.get(_SAMPLES_PER_PIXEL, 1)  # type: ignore[attr-defined]
    pages = getattr(image, "n_frames", 1)
    return samples != len(image.getbands()) or (samples == 1 and pages > 1 and image.mode != "P")


def from_tiff(data: bytes, max_pixels: int) -> Shaped[Tensor, "C H W"]:
    """Decode the bytes of a TIFF of n bands: each of several equal grey pages is a band, else the first page."""
    try:
        import tifffile
    except ImportError as error:
        raise RefusedError('a TIFF of several bands: pip install "vitrail[tiff]" to read it') from error
    with tifffile.TiffFile(BytesIO(data)) as file:
        first = file.pages.first
        alike = [page for page in file.pages if (page.shape, page.dtype) == (first.shape, first.dtype)]
        stacked = first.samplesperpixel == 1 and len(alike) == len(file.pages)
        pages = alike if stacked else [first]
        pixels = first.imagelength * first.imagewidth * len(pages)
        if pixels > max_pixels:
            raise RefusedError(f"too large: {pixels:,} pixels, the limit is {max_pixels:,}")
        array = np.stack([page.asarray() for page in pages]) if stacked else first.asarray()
        if array.ndim != 3:
            raise RefusedError(f"a TIFF of axes {first.axes}, but one image of several bands is needed")
        return scale_bands(array if stacked or first.axes.startswith("S") else np.moveaxis(array, -1, 0))


def scale_bands(array: np.ndarray) -> Shaped[Tensor, "C H W"]:
    """Scale values: uint8 unchanged, bool to 0 and 255, other integers / their largest value; floats must be finite."""
    if array.size == 0:
        raise RefusedError(f"no pixels: its shape is {array.shape}")
    kind = array.dtype.kind
    if array.dtype == np.uint8:
        return torch.from_numpy(np.array(array, order="C"))
    if kind == "b":
        return torch.from_numpy(np.where(array, np.uint8(255), np.uint8(0)))
    if kind in "iu":
        return torch.from_numpy((array / np.iinfo(array.dtype).max).astype(np.float32, order="C"))
    if kind != "f":
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
