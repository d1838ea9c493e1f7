"""Decodes the bytes of a file to an image tensor; any fault raises `BadImage` with a plain reason.

With `channels` None, images have their *natural* number of channels:

| file                                         | image             | values                                |
|----------------------------------------------|-------------------|---------------------------------------|
| 1-bit, 8-bit grey                            | (1, H, W) uint8   | as stored; 0 and 255 for 1-bit        |
| RGB, YCbCr, palette                          | (3, H, W) uint8   | its colours                           |
| CMYK                                         | (3, H, W) uint8   | Pillow's conversion, no ICC profile   |
| colour with alpha or a transparent colour    | (3, H, W) uint8   | laid over white                       |
| grey with alpha or a transparent level       | (1, H, W) uint8   | laid over white                       |
| 16-bit grey PNG, TIFF, PGM                   | (1, H, W) float32 | / 65535                               |
| 16-bit colour PNG, TIFF                      | (3, H, W) uint8   | the upper 8 bits                      |
| 32-bit integer grey                          | (1, H, W) float32 | / (2³¹ - 1)                           |
| float grey (TIFF, PFM)                       | (1, H, W) float32 | as stored, must be finite             |
| `.npy` (H, W), (H, W, C) or (C, H, W);       | (C, H, W) uint8   | of uint8; of bool 0 and 255           |
| TIFF of n bands, or of grey pages alike:     | (C, H, W) float32 | other integers / their largest value; |
| the pages are its bands                      |                   | floats as stored, must be finite      |

In a three-dimensional `.npy` the channel axis is the shorter of the first and the last, the last if equal.

| `channels` | takes                                                                              |
|------------|------------------------------------------------------------------------------------|
| 3          | colour as it is, grey three times                                                  |
| 1          | grey as it is, colour as luma (ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B)          |
| 4          | images with transparency as RGBA, arrays of four bands; opaque images: refused |
| other n    | exactly n bands; anything else is refused                                          |

The content decides the format, never the suffix. EXIF orientation is applied (a damaged EXIF block means
upright).
Animated images are read as their first frame. Truncated files are errors.
"""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO

import numpy as np
import torch
from jaxtyping import Shaped
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ..errors import VitrailError
from .bands import RefusedError, fit_bands, from_npy, from_tiff, scale_bands, tiff_has_bands

MAX_PIXELS = 178_956_970
"""Images with more pixels are refused from their header, before anything is unpacked.

It is twice Pillow's own `MAX_IMAGE_PIXELS`, from which Pillow raises an error too."""

# Left out: formats that start another program (EPS) or are not images (PDF, HDF5, MPEG, ...).
_FORMATS = (
    "JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "MPO", "ICO", "TGA",
    "PCX", "DIB", "SGI",
)  # fmt: skip
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_EXIF_PLACES = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")  # TIFFs Pillow has turned itself
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class BadImage(VitrailError):  # noqa: N818 - it names the thing, as in the table of bad files
    """A file is not a usable image; `name` is the file, `reason` the fault."""

    def __init__(self, name: str, reason: str = ""):
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}" if self.reason else self.name


def decode(data: bytes, channels: int | None = None, *, name: str = "image") -> Shaped[Tensor, "C H W"]:
    """Decode the bytes of an image file to an image (C, H, W), uint8, or float32 on a 0 to 1 scale; see the module's
    tables.

    Raises:
        BadImage: any fault of the file, with `name` and the reason.
    """
    try:
        with _quiet():
            return _decode(data, channels)
    except Exception as error:  # decoders raise everything: struct.error, SyntaxError, zlib.error, MemoryError, ...
        raise BadImage(name, _reason(error, data)) from error


def from_pil(image: Image.Image, channels: int | None = None) -> Shaped[Tensor, "C H W"]:
    """Convert a Pillow image to an image (C, H, W), by the rules for files; see the module's tables.

    Raises:
        RefusedError: its channels cannot be brought to `channels`.
    """
    image.load()
    image = _upright(image)
    if image.mode == "F" or image.mode.startswith("I"):
        return fit_bands(_wide(image), channels)
    return _ordinary(image, channels)


def _decode(data: bytes, channels: int | None) -> Tensor:
    if not data:
        raise RefusedError("empty file")
    if data.startswith(b"\x93NUMPY"):
        return fit_bands(from_npy(data, MAX_PIXELS), channels)
    is_tiff = data.startswith(_TIFF_MAGIC)
    try:
        image: Image.Image = Image.open(BytesIO(data), formats=_formats())
    except UnidentifiedImageError:
        if not is_tiff:
            raise
        return fit_bands(from_tiff(data, MAX_PIXELS), channels)  # Pillow cannot read a TIFF of n bands
    if image.width * image.height > MAX_PIXELS:
        raise RefusedError(_too_large(image.width * image.height))
    if is_tiff and tiff_has_bands(image):
        return fit_bands(from_tiff(data, MAX_PIXELS), channels)
    return from_pil(image, channels)


def _wide(image: Image.Image) -> Tensor:
    """Grey with more than 8 bits -> (1, H, W) float32."""
    array = np.array(image)[None]
    if image.mode == "I" and image.format in (
        "PNG",
        "PPM",
    ):  # 16 bits in the file, in any mode of Pillow
        array = array.astype(np.uint16)
    return scale_bands(array)


def _ordinary(image: Image.Image, channels: int | None) -> Tensor:
    """An image of 8-bit channels -> (1, 3 or 4, H, W) uint8."""
    natural = 1 if image.mode in ("1", "L", "LA", "La") else 3
    see_through = image.has_transparency_data
    wanted = natural if channels is None else channels
    if wanted == 4 and see_through:
        return _tensor(image.convert("RGBA"))
    if wanted not in (1, 3):
        kind = "transparency" if wanted == 4 else f"{wanted} channels"
        raise RefusedError(f"a {image.mode} image, but one with {kind} is needed")
    if see_through:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if natural == 3 and image.mode != "RGB":  # also on the way to grey: CMYK and palettes have no luma of their own
        image = image.convert("RGB")
    mode = "L" if wanted == 1 else "RGB"
    return _tensor(image if image.mode == mode else image.convert(mode))


def _tensor(image: Image.Image) -> Tensor:
    array = np.array(image)
    if array.ndim == 2:
        return torch.from_numpy(array)[None]
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))


def _upright(image: Image.Image) -> Image.Image:
    if image.info.keys().isdisjoint(_EXIF_PLACES):  # looking into EXIF costs as much as decoding a thumbnail
        return image
    try:
        turn = _UPRIGHT.get(image.getexif().get(0x0112, 1))
    except Exception:  # the pixels are intact: a damaged EXIF block only loses the orientation
        return image
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.format = image.format
    return turned


def _reason(error: Exception, data: bytes) -> str:
    """One clause that describes an error of the decoder."""
    if isinstance(error, RefusedError):
        return str(error)
    if isinstance(error, Image.DecompressionBombError):
        digits = "".join(c if c.isdigit() else " " for c in str(error)).split()
        return _too_large(int(digits[0])) if digits else "too large"
    if isinstance(error, MemoryError):
        return "too large for the memory of this machine"
    if isinstance(error, UnidentifiedImageError):
        if data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc"):
            return "a HEIC image, which is not read here: convert it to JPEG or PNG"
        return "not an image, or damaged in its first bytes"
    what = str(error) or type(error).__name__
    return what if "truncated" in what.lower() else f"damaged ({what})"


def _too_large(pixels: int) -> str:
    return f"too large: {pixels:,} pixels, the limit is {MAX_PIXELS:,}"


@cache
def _formats() -> tuple[str, ...]:
    """The formats of our list that this Pillow was built with."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


_LOGGERS = ("PIL.TiffImagePlugin", "tifffile")
_quiet_lock = threading.Lock()
_quiet_users = 0
_quiet_filters = warnings.catch_warnings()


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the decoders' warnings (palette transparency, odd EXIF, damaged tags).

    `catch_warnings` alone is not safe in threads: two that overlap restore each other's filters. So the first
    one in changes them and the last one out restores them.
    """
    global _quiet_users, _quiet_filters
    with _quiet_lock:
        if _quiet_users == 0:
            _quiet_filters = warnings.catch_warnings()
            _quiet_filters.__enter__()
            warnings.simplefilter("ignore")
            for name in _LOGGERS:
                logging.getLogger(name).addFilter(_drop)
        _quiet_users += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_users -= 1
            if _quiet_users == 0:
                _quiet_filters.__exit__(None, None, None)
                for name in _LOGGERS:
                    logging.getLogger(name).removeFilter(_drop)


def _drop(record: logging.LogRecord) -> bool:
    return False
