"""The formats of image files that are read with Pillow."""

from functools import cache

from PIL import Image

# Left out: formats that start another program (EPS) or are not images (PDF, HDF5, MPEG, ...).
_FORMATS = (
    "JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "MPO", "ICO", "TGA",
    "PCX", "DIB", "SGI",
)  # fmt: skip


@cache
def readable_formats() -> tuple[str, ...]:
    """The formats of our list that this Pillow was built with."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)
