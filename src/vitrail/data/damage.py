"""Finds damage that decoders pass over: wrong checksums of PNG files, and what libjpeg only warns of.

A format without checksums cannot know of every damage: see docs/data.md.
"""

import struct
import zlib

from .bands import RefusedError

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"
ICON_MAGIC = b"\0\0\1\0"
_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Kind of colour of a PNG -> samples of a pixel."""
_MOST_DEFLATED = 1040
"""A byte stands for at most 1,032 (zlib's documentation), and a few less for the rows' own bytes."""
_MOST_SCANS = 20
"""Passes over an image of the largest size that a progressive JPEG may ask for: a small file can ask for hours."""
_LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF)
_NO_FRAME = (0xC4, 0xC8, 0xCC)
"""Markers of a JPEG from 0xC0 to 0xCF that do not begin a frame."""
_NO_LENGTH = (0x01, *range(0xD0, 0xD9))
"""Markers without a segment behind them."""
_DAMAGE = ("Corrupt JPEG data", "Premature end", "Inconsistent progression", "Unsupported marker", "Bogus")
"""Beginnings of libjpeg's warnings about lost data, and of errors that libtiff passes over.

The others are about headers that decoders agree on."""


def check_png(data: bytes, max_pixels: int) -> None:
    """Compare every chunk of a PNG with its checksum, and the size of images up to `max_pixels` with that of the file.

    Raises:
        RefusedError: a checksum is wrong, or the end is missing.
    """
    place, view, packed = len(PNG_MAGIC), memoryview(data), 0
    while place + 12 <= len(data):
        size = int.from_bytes(view[place : place + 4], "big")
        kind = view[place + 4 : place + 8].tobytes()
        body, end = view[place + 4 : place + 8 + size], place + 12 + size
        if end > len(data):
            break
        if zlib.crc32(body) != int.from_bytes(view[end - 4 : end], "big"):
            shown = kind.decode("latin-1") if kind.isalpha() else kind.hex()
            raise RefusedError(f"damaged (the checksum of its part {shown} is wrong)")
        packed += size * (kind == b"IDAT")
        if kind == b"IEND":
            _require_pixels(data, packed, max_pixels)
            return
        place = end
    raise RefusedError("truncated: a PNG without its end")


def _require_pixels(data: bytes, packed: int, max_pixels: int) -> None:
    """Raise RefusedError if the bytes of a PNG's pixels are fewer than can stand for so many: decoders add black."""
    if data[12:16] == b"IHDR":
        width, height, bits, colour = struct.unpack(">IIBB", data[16:26])
        needed = height * (width * bits * _PNG_SAMPLES.get(colour, 1) // 8)
        if width * height <= max_pixels and needed > _MOST_DEFLATED * packed:
            raise RefusedError(f"truncated: {packed:,} bytes for {width:,} x {height:,} pixels")


def check_icon(data: bytes, max_pixels: int) -> None:
    """Check the PNGs inside an icon file, see `check_png`."""
    place = data.find(PNG_MAGIC)
    while place >= 0:
        check_png(data[place:], max_pixels)
        place = data.find(PNG_MAGIC, place + 1)


def check_scans(data: bytes, pixels: int, max_pixels: int) -> None:
    """Raise RefusedError for a JPEG whose number of scans makes decoding take minutes or hours."""
    scans = data.count(b"\xff\xda")
    if scans * pixels > _MOST_SCANS * max_pixels:
        raise RefusedError(f"too slow to decode: {scans:,} scans of {pixels:,} pixels")


def is_lossless(data: bytes) -> bool:
    """Whether a JPEG is lossless: such a one has no fractions, and libjpeg writes beyond their memory."""
    place = 2
    while 0 <= place < len(data) - 3:
        kind = data[place + 1]
        if data[place] != 0xFF:  # decoders skip to the next marker
            place = data.find(b"\xff", place)
        elif kind == 0xFF:
            place += 1
        elif 0xC0 <= kind <= 0xCF and kind not in _NO_FRAME:
            return kind in _LOSSLESS
        elif kind in _NO_LENGTH:
            place += 2
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return False


def check_jpeg(data: bytes) -> None:
    """Decode a JPEG at an eighth of its size and turn libjpeg's warnings about its data into errors.

    Pillow drops these warnings and fills what is missing with grey.

    Raises:
        RefusedError: the file ends early, or its data are corrupt.
    """
    try:
        import simplejpeg
    except ImportError as error:
        raise RefusedError("a JPEG is checked for damage by simplejpeg: pip install simplejpeg") from error
    try:
        ink = simplejpeg.decode_jpeg_header(data)[2] in ("CMYK", "YCCK")
        eighth = {} if is_lossless(data) else {"min_height": 1, "min_width": 1, "min_factor": 8}
        simplejpeg.decode_jpeg(data, "CMYK" if ink else "GRAY", **eighth)
    except ValueError as error:
        if str(error).startswith(_DAMAGE):
            raise RefusedError(f"damaged ({error})") from error
        # A kind that this decoder does not know, such as rare subsampling: Pillow has the last word.
