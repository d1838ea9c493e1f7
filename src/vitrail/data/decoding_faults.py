"""Faults of image files in words."""

from PIL import Image, UnidentifiedImageError

from .bands import RefusedError
from .decoding_limits import TooMuchMemoryError, TooSlowError

MAX_PIXELS = 178_956_970
"""Images with more pixels are refused from their header, before anything is unpacked.

It is twice Pillow's own `MAX_IMAGE_PIXELS`, from which Pillow raises an error too."""


def fault(error: Exception, data: bytes) -> str:
    """One clause that describes an error of a decoder, for the file with these bytes."""
    if isinstance(error, RefusedError):
        return str(error)
    if isinstance(error, Image.DecompressionBombError):
        digits = "".join(c if c.isdigit() else " " for c in str(error)).split()
        return too_large(int(digits[0])) if digits else "too large"
    if isinstance(error, MemoryError):
        return "too large for the memory of this machine"
    if isinstance(error, TooSlowError | TooMuchMemoryError):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or damaged in its first bytes"
    what = " ".join(str(error).split())[:200] or type(error).__name__
    return what if "truncated" in what.lower() else f"damaged ({what})"


def too_large(pixels: int) -> str:
    """The fault of an image with this many pixels."""
    return f"too large: {pixels:,} pixels, the limit is {MAX_PIXELS:,}"
