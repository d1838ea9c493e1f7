"""Finds damage in the parts of a TIFF that libtiff passes over: missing parts, wrong checksums, damaged JPEGs."""

import lzma
import zlib
from collections.abc import Callable, Mapping

from .bands import RefusedError
from .damage import JPEG_MAGIC, check_jpeg
from .tiff import Page, Tiff

_OLD_JPEG, _JPEG = 6, 7
_CHUNK = 2**20
_MOST_BYTES_PER_VALUE = 16


def check_parts(data: bytes, tiff: Tiff) -> None:
    """Check that the strips or tiles of all pages that are read are there, and unpack them if they have a checksum.

    libtiff stops as soon as it has enough pixels, before it reaches the checksum.

    Raises:
        RefusedError: a part is missing, or its packed data are damaged.
    """
    for page in tiff.pages:
        if page.compression == _OLD_JPEG:
            continue
        if len(page.parts) < page.part_count:
            found, needed = len(page.parts), page.part_count
            raise RefusedError(f"truncated: {found:,} strips or tiles, and its size needs {needed:,}")
        check = _CHECKS.get(page.compression)
        for start, size in page.parts:
            if check is not None and size:  # without bytes it is a part of zeros, as in sparse files
                check(data[start : start + size], page)


def _check_deflate(part: bytes, page: Page) -> None:
    """Unpack zlib's format, which ends with a checksum."""
    unpack = zlib.decompressobj()
    rest, count, most = part, 0, _most_bytes(page)
    try:
        while not unpack.eof and count <= most:
            block = unpack.decompress(rest, _CHUNK)
            if not block and not unpack.eof and not unpack.unconsumed_tail:
                raise RefusedError("truncated: a strip or tile has no end")
            rest, count = unpack.unconsumed_tail, count + len(block)
    except zlib.error as error:
        raise RefusedError(f"damaged ({error})") from error


def _check_lzma(part: bytes, page: Page) -> None:
    """Unpack xz's format, which has checksums."""
    unpack = lzma.LZMADecompressor(memlimit=2**30)
    count, most = 0, _most_bytes(page)
    try:
        rest = part
        while not unpack.eof and count <= most:
            block = unpack.decompress(rest, _CHUNK)
            if not block and not unpack.eof and unpack.needs_input:
                raise RefusedError("truncated: a strip or tile has no end")
            rest, count = b"", count + len(block)
    except lzma.LZMAError as error:
        raise RefusedError(f"damaged ({error})") from error


def _check_jpeg(part: bytes, page: Page) -> None:
    """Check a JPEG, with the tables that all parts share, for what libjpeg only warns of."""
    if not part.startswith(JPEG_MAGIC[:2]):
        raise RefusedError("damaged (a strip or tile is no JPEG)")
    check_jpeg(page.jpeg_tables.removesuffix(b"\xff\xd9") + part[2:] if page.jpeg_tables else part)


def _most_bytes(page: Page) -> int:
    """More bytes than a part of this page can have."""
    height, width = page.part_size
    return _CHUNK + _MOST_BYTES_PER_VALUE * height * width * page.one(277, 1)


_CHECKS: Mapping[int, Callable[[bytes, Page], None]] = {
    _JPEG: _check_jpeg,
    8: _check_deflate,
    32946: _check_deflate,
    34925: _check_lzma,
}
"""Compression -> check of one part."""
