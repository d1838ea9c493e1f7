"""Reads files of maps as arrays: numbers of classes or colours of masks, and depths."""

from collections.abc import Callable
from io import BytesIO
from pathlib import PurePath
from typing import IO, Any
from zipfile import ZipFile

import numpy as np
from PIL import Image

from .bands import RefusedError
from .damage import JPEG_MAGIC, PNG_MAGIC, check_png
from .decode import BadImage, decode
from .decoding_faults import MAX_PIXELS, fault, too_large
from .decoding_limits import DECODING, TimedFile
from .file_bytes import read_file
from .formats import readable_formats
from .quiet import quiet
from .tiff import TIFF_MAGIC

_BYTES_PER_PIXEL = 16
_NEAR, _MOSTLY = 32, 0.9
"""Distance from black and white, and share of the pixels, up to which a JPEG is one of two values."""
_NPY_MAGIC, _ZIP_MAGIC = b"\x93NUMPY", b"PK\x03\x04"


def read_mask(path: str, *, colours: bool = False) -> np.ndarray:
    """Read a mask: (H, W) of whole numbers, or (H, W, 3) uint8 of colours.

    Grey files have their values, 0 and 255 if they have one bit; palettes have their indices, or with `colours` their
    colours. Colour files in which all pixels are grey are grey, unless `colours`.

    Raises:
        BadImage: it cannot be read, or its values are not whole numbers.
    """

    def convert(array: np.ndarray) -> np.ndarray:
        if array.dtype.kind == "f" and np.isfinite(array).all() and (array == np.floor(array)).all():
            array = array.astype(np.int64)
        if array.dtype.kind not in "iu":
            raise RefusedError(f"a mask of type {array.dtype}, but whole numbers are needed")
        if array.ndim == 2 and colours and array.dtype == np.uint8:
            return np.repeat(array[..., None], 3, axis=2)
        if array.ndim == 3 and not colours and (array == array[..., :1]).all():
            return array[..., 0]
        return array

    def read(data: bytes) -> np.ndarray:
        if not _is_image(data):
            return convert(_numpy(data))
        array = convert(_pillow(data, colours))
        return _of_jpeg(array) if data.startswith(JPEG_MAGIC) and array.ndim == 2 else array

    return convert_checked(path, read)


def _of_jpeg(mask: np.ndarray) -> np.ndarray:
    """The mask of a JPEG, which changes values near edges: 0 and 255 if nearly all values are close to these, or all
    are black.

    Raises:
        RefusedError: it has other values.
    """
    near = (mask < _NEAR) | (mask > 255 - _NEAR)
    is_black = mask.max() == mask.min() < 3
    if not is_black and (near.mean() < _MOSTLY or mask.max() <= 255 - _NEAR):
        raise RefusedError("a mask in a JPEG, which does not keep the numbers of classes: save masks as PNG")
    return np.where(mask > 127, np.uint8(255), np.uint8(0))


def read_depth(path: str) -> tuple[np.ndarray, int]:
    """Read depths as stored: (H, W) float64, and the largest value of their type if it is a type of integers, else 0.

    Raises:
        BadImage: it cannot be read, or has colours.
    """

    def convert(array: np.ndarray) -> tuple[np.ndarray, int]:
        if array.ndim == 3 and (array == array[..., :1]).all():
            array = array[..., 0]
        if array.ndim != 2:
            raise RefusedError(f"depths of shape {array.shape}, but (H, W) is needed")
        if array.dtype.kind not in "iuf":
            raise RefusedError(f"depths of type {array.dtype}, but numbers are needed")
        return array.astype(np.float64), _largest(array) if array.dtype.kind in "iu" else 0

    return convert_checked(path, lambda data: convert(_pillow(data, False) if _is_image(data) else _numpy(data)))


def convert_checked(path: str, convert: Callable[[bytes], Any]) -> Any:
    """Apply a decoder to the bytes of a file; any fault is a `BadImage` that names the file."""
    data = b""
    try:
        data = read_file(path)
        with quiet():
            if not data:
                raise RefusedError("empty file")
            return convert(data)
    except OSError as error:
        if data:
            raise BadImage(path, fault(error, data)) from error
        raise BadImage(path, error.strerror or str(error)) from error
    except Exception as error:  # decoders raise everything
        raise BadImage(path, fault(error, data)) from error


def _largest(array: np.ndarray) -> int:
    """Pillow has 16-bit files as 32-bit integers too."""
    return 255 if array.dtype.itemsize == 1 else 65535


def _is_image(data: bytes) -> bool:
    return not data.startswith((_NPY_MAGIC, _ZIP_MAGIC))


def _pillow(data: bytes, colours: bool) -> np.ndarray:
    """Array of an image file: (H, W), or (H, W, 3) uint8."""
    if data.startswith(PNG_MAGIC):
        check_png(data, MAX_PIXELS)
    try:
        image: Image.Image = Image.open(TimedFile(data), formats=readable_formats())
    except Image.UnidentifiedImageError:
        if data.startswith(TIFF_MAGIC):  # 64-bit floats and the like
            return np.asarray(decode(data, 1)[0])
        raise
    if image.width * image.height > MAX_PIXELS:
        raise RefusedError(too_large(image.width * image.height))
    with DECODING.reserved(_BYTES_PER_PIXEL * image.width * image.height):
        if image.mode == "P" and not colours:
            return np.array(image)
        if image.mode in ("1", "LA") or (image.format == "JPEG" and not colours):
            image = image.convert("L")
        elif image.mode in ("P", "RGBA", "PA", "CMYK", "YCbCr"):
            image = image.convert("RGB")
        return np.array(image)


def _numpy(data: bytes) -> np.ndarray:
    """Array (H, W) of a .npy, or of the first or only fitting one of a .npz; a further axis of length 1 is left out."""
    if data.startswith(_ZIP_MAGIC):
        with ZipFile(BytesIO(data)) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
            if not entries:
                raise RefusedError("a .npz without an array")
            named = [e for e in entries if PurePath(e.filename).stem in ("depth", "depths", "mask", "label")]
            entry = (named or entries)[0]
            with archive.open(entry) as file:
                _check_header(file)
            data = archive.read(entry)
    else:
        _check_header(BytesIO(data))
    array = np.load(BytesIO(data), allow_pickle=False)
    if array.ndim == 3:
        array = array[..., 0] if array.shape[2] == 1 else array[0]
    return np.asarray(array, dtype=np.uint8 if array.dtype.kind == "b" else None)


def _check_header(file: IO[bytes]) -> None:
    """Raise RefusedError unless a .npy has the shape of a map: before it is unpacked, as a small file can be large."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    is_map = len(shape) == 2 or (len(shape) == 3 and 1 in (shape[0], shape[2]))
    if not is_map or 0 in shape:
        raise RefusedError(f"an array of shape {shape}, but (H, W) is needed")
    if (count := int(np.prod(shape, dtype=object))) > MAX_PIXELS:
        raise RefusedError(too_large(count))
    if dtype.hasobject:
        raise RefusedError("an array of Python objects: save an array of numbers")
