"""Decodes the bytes of a file to an image tensor; any fault raises `BadImage` with a plain reason.

With `channels` None, images have their *natural* number of channels:

| file                                         | image             | values                                |
|----------------------------------------------|-------------------|---------------------------------------|
| 1-bit, 8-bit grey                            | (1, H, W) uint8   | as stored; 0 and 255 for 1-bit        |
| RGB, YCbCr, palette                          | (3, H, W) uint8   | its colours                           |
| CMYK                                         | (3, H, W) uint8   | Pillow's conversion, no ICC profile   |
| colour with alpha or a transparent colour    | (3, H, W) uint8   | laid over white                       |
| grey with alpha or a transparent level       | (1, H, W) uint8   | laid over white                       |
| 16-bit colour PNG, TIFF                      | (3, H, W) uint8   | the upper 8 bits                      |
| grey with more bits (PNG, TIFF, PGM, PFM)    | (1, H, W) float32 | by their type, see below              |
| `.npy` (H, W), (H, W, C) or (C, H, W);       | (C, H, W)         | by their type, see below              |
| TIFF of n bands, or of grey pages alike:     |                   |                                       |
| the pages are its bands                      |                   |                                       |

| type                                         | image   | values                                                 |
|----------------------------------------------|---------|--------------------------------------------------------|
| uint8                                        | uint8   | as stored: 0 to 255                                    |
| bool                                         | uint8   | 0 and 255                                              |
| uint16                                       | float32 | / 65535: 0 to 1                                        |
| int8, int16, int32, int64, uint32, uint64    | float32 | as stored, such as Hounsfield units                    |
| float16, float32, float64                    | float32 | as stored, must be finite                              |

In a three-dimensional `.npy` the channel axis is the shorter of the first and the last, the last if equal.

| `channels` | takes                                                                              |
|------------|------------------------------------------------------------------------------------|
| 3          | colour as it is, grey three times                                                  |
| 1          | grey as it is, colour as luma (ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B)          |
| 4          | images with transparency as RGBA, arrays of four bands; opaque images: refused |
| other n    | exactly n bands; anything else is refused                                          |

The content decides the format, never the suffix. EXIF orientation is applied (a damaged EXIF block means
upright).
Animated images are read as their first frame. TIFFs whose white is 0 are inverted if their type has a white value
(bool, unsigned integers).

Truncated files are errors, and so are TIFFs and arrays of which a part lies outside the file. With `strict`, a PNG
with a wrong checksum and a JPEG whose data libjpeg finds corrupt are errors too. One file may have at most
`MAX_PIXELS`, `MAX_BYTES` and `MAX_SECONDS`; all threads share a budget of memory.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, overload

import numpy as np
import torch
from jaxtyping import Shaped
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

from ..errors import VitrailError
from .bands import RefusedError, fit_bands, from_npy, scale_bands
from .camera import is_heif, open_heif, raw_kind, raw_refused
from .damage import ICON_MAGIC, JPEG_MAGIC, PNG_MAGIC, check_icon, check_jpeg, check_png, check_scans
from .decoding_faults import MAX_PIXELS, fault, too_large
from .decoding_limits import DECODING, TimedFile
from .formats import readable_formats
from .jpeg import largest_part, sound_jpeg
from .orientation import turned_size, upright
from .quiet import quiet
from .tiff import TIFF_MAGIC, Tiff, decode_bands, inverted, read_structure
from .tiff_damage import check_parts

T = TypeVar("T")

_LARGE = 2**24
"""Pixels from which memory counts more than speed."""
_BYTES_PER_PIXEL, _BYTES_PER_VALUE = 16, 24
"""Memory for a pixel of an ordinary image, and for a value of several bands, with all copies up to the resize."""


class BadImage(VitrailError):  # noqa: N818 - it names the thing, as in the table of bad files
    """A file is not a usable image; `name` is the file, `reason` the fault."""

    def __init__(self, name: str, reason: str = ""):
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}" if self.reason else self.name


def unchanged(image: Tensor) -> Shaped[Tensor, "C H W"]:
    """Return the image as it is."""
    return image


@overload
def decode(
    data: bytes, channels: int | None = None, *, name: str = "image", strict: bool = True, least: int | None = None
) -> Shaped[Tensor, "C H W"]: ...


@overload
def decode(
    data: bytes,
    channels: int | None = None,
    *,
    name: str = "image",
    strict: bool = True,
    least: int | None = None,
    then: Callable[[Tensor], T],
) -> T: ...


def decode(
    data: bytes,
    channels: int | None = None,
    *,
    name: str = "image",
    strict: bool = True,
    least: int | None = None,
    then: Callable[[Tensor], Any] = unchanged,
) -> Any:
    """Decode the bytes of an image file to an image (C, H, W), uint8 or float32; see the module's tables.

    Args:
        data: the bytes of the file.
        channels: number of channels to convert to; None: its own.
        name: name of the file in messages.
        strict: also refuse damage that decoders pass over.
        least: shorter side in pixels that is enough: a JPEG that is at least twice as large may be decoded at 1/2, 1/4
            or 1/8 of its size, which takes less time and memory; None: the whole size.
        then: applied to the image while its memory is reserved, such as `Preprocess.fit`; its result is returned.

    Raises:
        BadImage: any fault of the file, with `name` and the reason.
    """
    return decode_sized(data, channels, name=name, strict=strict, least=least, then=then)[0]


def decode_sized(
    data: bytes,
    channels: int | None = None,
    *,
    name: str = "image",
    strict: bool = True,
    least: int | None = None,
    then: Callable[[Tensor], T],
) -> tuple[T, tuple[int, int]]:
    """The result of `decode`, and (height, width) of the whole image, upright, in pixels."""
    try:
        with quiet():
            opened = _open(data, strict, least)
            with DECODING.reserved(opened.cost):
                image, whole = opened.read(channels), opened.whole
                del opened  # Pillow's copy of the image, and the file with it
                return then(image), whole or (image.shape[-2], image.shape[-1])
    except Exception as error:  # decoders raise everything: struct.error, SyntaxError, zlib.error, MemoryError, ...
        raise BadImage(name, fault(error, data)) from error


def from_pil(image: Image.Image, channels: int | None = None) -> Shaped[Tensor, "C H W"]:
    """Convert a Pillow image to an image (C, H, W), by the rules for files; see the module's tables.

    Raises:
        RefusedError: its channels cannot be brought to `channels`.
    """
    image.load()
    white_is_zero = isinstance(image, TiffImageFile) and image.tag_v2.get(262) == 0
    image = upright(image)
    if image.mode == "F" or image.mode.startswith("I"):
        return fit_bands(_wide(image, white_is_zero), channels)
    return _ordinary(image, channels)


class _Opened(NamedTuple):
    """A file whose header has been read.

    Attributes:
        cost: bytes of memory that decoding takes.
        read: channels -> image.
        whole: (height, width) of the whole image, if it is decoded at a fraction of its size.
    """

    cost: int
    read: Callable[[int | None], Tensor]
    whole: tuple[int, int] | None = None


def _open(data: bytes, strict: bool, least: int | None) -> _Opened:
    if not data:
        raise RefusedError("empty file")
    if data.startswith(b"\x93NUMPY"):
        return _Opened(4 * len(data), lambda channels: fit_bands(from_npy(data, MAX_PIXELS, strict), channels))
    if raw := raw_kind(data):
        raise raw_refused(raw)
    if data.startswith(TIFF_MAGIC):
        return _open_tiff(data, strict)
    if strict and data.startswith(PNG_MAGIC):
        check_png(data, MAX_PIXELS)
    if strict and data.startswith(ICON_MAGIC):
        check_icon(data, MAX_PIXELS)
    image = open_heif(data) if is_heif(data) else Image.open(TimedFile(data), formats=readable_formats())
    return _open_jpeg(data, image, strict, least) if data.startswith(JPEG_MAGIC) else _of_pillow(image)


def _open_jpeg(data: bytes, image: Image.Image, strict: bool, least: int | None) -> _Opened:
    check_scans(data, _pixels(image), MAX_PIXELS)
    part = largest_part(data, image, least)
    whole = turned_size(image) if part > 1 else None
    # A progressive file is held as a whole, two bytes for each coefficient.
    held = 2 * len(image.getbands()) * _pixels(image) if "progressive" in image.info else 0
    if part > 1:
        image.draft(image.mode, (image.width // part, image.height // part))
    opened = _of_pillow(image)

    def read(channels: int | None) -> Tensor:
        if image.mode == "RGB" and channels in (None, 3) and (fast := sound_jpeg(data, image, part)) is not None:
            return fast
        decoded = opened.read(channels)
        if strict:  # afterwards, so that truncated files are called that
            check_jpeg(data)
        return decoded

    return opened._replace(cost=opened.cost + held, read=read, whole=whole)


def _open_tiff(data: bytes, strict: bool) -> _Opened:
    structure = read_structure(data)
    if structure.is_raw:
        raise raw_refused("DNG, NEF, ARW or the like")
    values = max(structure.values, structure.part_values)
    if values > 4 * MAX_PIXELS:
        raise RefusedError(f"too large: {values:,} values, the limit is {4 * MAX_PIXELS:,}")
    if strict:
        check_parts(data, structure)
    cost = _BYTES_PER_VALUE * values
    if structure.bands == 1 and not structure.is_rare and (image := _tiff_image(data, structure)):
        opened = _of_pillow(image)
        return opened._replace(cost=max(cost, opened.cost)) if structure.part_values > structure.values else opened
    return _Opened(cost, lambda channels: fit_bands(decode_bands(data, structure), channels))


def _of_pillow(image: Image.Image) -> _Opened:
    cost = _BYTES_PER_PIXEL * (_pixels(image) + image.height)  # Pillow has a pointer to each row
    return _Opened(cost, lambda channels: from_pil(image, channels))


def _tiff_image(data: bytes, structure: Tiff) -> Image.Image | None:
    """The first page, if Pillow reads all its samples."""
    try:
        image = Image.open(TimedFile(data), formats=["TIFF"])
    except UnidentifiedImageError:
        return None  # Pillow cannot read a TIFF of n bands
    return image if structure.samples == len(image.getbands()) else None


def _pixels(image: Image.Image) -> int:
    pixels = image.width * image.height
    if pixels > MAX_PIXELS:
        raise RefusedError(too_large(pixels))
    return pixels


def _wide(image: Image.Image, white_is_zero: bool) -> Tensor:
    """Grey with more than 8 bits -> (1, H, W) float32."""
    array = np.array(image)[None]
    if image.mode == "I" and image.format in ("PNG", "PPM"):  # 16 bits in the file, in any mode of Pillow
        array = array.astype(np.uint16)
    return scale_bands(inverted(array, 16) if white_is_zero else array)


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
    if image.width * image.height > _LARGE:  # one channel at a time, without a second copy of the whole
        channels = np.empty((len(image.getbands()), image.height, image.width), np.uint8)
        for index, channel in enumerate(channels):
            channel[:] = np.asarray(image if len(channels) == 1 else image.getchannel(index))
        return torch.from_numpy(channels)
    array = np.array(image)
    if array.ndim == 2:
        return torch.from_numpy(array)[None]
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))
