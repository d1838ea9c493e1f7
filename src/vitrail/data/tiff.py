"""Structure of TIFF files, read before any decoder sees them; and decoding of TIFFs with more bands than Pillow reads.

Decoders take a directory that is cut off for one without those tags: 8-bit colour is then read as 1-bit noise.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped
from torch import Tensor

from .bands import RefusedError, scale_bands
from .decoding_limits import TimedFile

MAX_BANDS = 1024
"""Largest number of pages that are read as bands."""
_MAX_PAGES = 30_000

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _MAKE = 254, 256, 257, 258, 259, 262, 271
_STRIPS, _ORIENTATION, _SAMPLES, _ROWS, _STRIP_BYTES, _PLANES = 273, 274, 277, 278, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 322, 323, 324, 325
_SUB_IFDS, _SAMPLE_FORMAT, _JPEG_TABLES, _DNG_VERSION = 330, 339, 347, 50706
_WHITE_IS_ZERO, _BLACK_IS_ZERO = 0, 1
_UNSIGNED, _SIGNED = 1, 2
_SENSOR = (32803, 34892)  # colour filter array, linear raw
_SEPARATE = 2
_OLD_JPEG, _WEBP = 6, 50001

_READ = {
    _SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _STRIPS, _ORIENTATION, _SAMPLES, _ROWS, _STRIP_BYTES,
    _PLANES, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _SAMPLE_FORMAT, _JPEG_TABLES,
}  # fmt: skip
_CODES = {1: "B", 2: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_SIZES = {5: 8, 10: 8, 11: 4, 12: 8}  # rationals and floats: only their place is checked


class _Layout(NamedTuple):
    """Sizes of one kind of TIFF: byte order, number of entries, one entry, and its value or offset."""

    order: str
    entries: str
    entry: int
    value: str


@dataclass(frozen=True, slots=True)
class Page:
    """Tags of one page: tag -> integers; tags of other types have no values."""

    tags: dict[int, tuple[int, ...]]

    def one(self, tag: int, default: int) -> int:
        """First value of a tag."""
        return self.tags.get(tag, (default,))[0]

    @property
    def kind(self) -> tuple[object, ...]:
        """What pages must have in common to be bands of one image."""
        return tuple(self.tags.get(tag) for tag in (_WIDTH, _HEIGHT, _BITS, _SAMPLES, _SAMPLE_FORMAT, _PHOTOMETRIC))

    @property
    def is_grey(self) -> bool:
        """Whether the page has one sample, which is a brightness."""
        return self.one(_SAMPLES, 1) == 1 and self.one(_PHOTOMETRIC, _BLACK_IS_ZERO) in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)

    @property
    def compression(self) -> int:
        """How the parts are packed; 1 is not at all."""
        return self.one(_COMPRESSION, 1)

    @property
    def is_planar(self) -> bool:
        """Whether each sample has parts of its own."""
        return self.one(_PLANES, 1) == _SEPARATE

    @property
    def part_size(self) -> tuple[int, int]:
        """(height, width) of a part, which is a tile, or a strip of rows."""
        if _TILES in self.tags:
            return self.one(_TILE_HEIGHT, 0), self.one(_TILE_WIDTH, 0)
        height = self.one(_HEIGHT, 0)
        return min(self.one(_ROWS, height) or height, height), self.one(_WIDTH, 0)

    @property
    def part_count(self) -> int:
        """Number of parts that the size of the page needs."""
        sides = zip((self.one(_HEIGHT, 0), self.one(_WIDTH, 0)), self.part_size, strict=True)
        count = math.prod(-(-length // max(side, 1)) for length, side in sides)
        return count * (self.one(_SAMPLES, 1) if self.is_planar else 1)

    @property
    def parts(self) -> list[tuple[int, int | None]]:
        """(offset, number of bytes, None if it is not stated) of each part."""
        where, count = (_TILES, _TILE_BYTES) if _TILES in self.tags else (_STRIPS, _STRIP_BYTES)
        return list(zip_longest(starts := self.tags.get(where, ()), self.tags.get(count, ())[: len(starts)]))

    @property
    def jpeg_tables(self) -> bytes:
        """Tables that all parts share, if they are JPEGs."""
        return bytes(self.tags.get(_JPEG_TABLES, ()))


@dataclass(frozen=True, slots=True)
class Tiff:
    """Structure of a TIFF file.

    Attributes:
        pages: the first page, or all, if all are grey and alike: then they are bands of one image.
    """

    pages: tuple[Page, ...]

    @property
    def first(self) -> Page:
        return self.pages[0]

    @property
    def bands(self) -> int:
        """Number of pages that are bands of one image."""
        return len(self.pages)

    @property
    def samples(self) -> int:
        """Number of samples of a pixel of the first page."""
        return self.first.one(_SAMPLES, 1)

    @property
    def values(self) -> int:
        """Number of values of all bands."""
        return self.first.one(_WIDTH, 0) * self.first.one(_HEIGHT, 0) * self.samples * self.bands

    @property
    def part_values(self) -> int:
        """Number of values of one tile or strip, for which decoders take memory."""
        return math.prod(self.first.part_size) * (1 if self.first.is_planar else self.samples)

    @property
    def is_rare(self) -> bool:
        """Whether the first page is of a kind that Pillow does not read: WebP, or grey that it reads as another type,
        signed bytes and large unsigned."""
        kind = self.first.one(_SAMPLE_FORMAT, _UNSIGNED), self.first.one(_BITS, 1)
        return self.first.compression == _WEBP or (self.first.is_grey and kind in ((_SIGNED, 8), (_UNSIGNED, 32)))

    @property
    def is_raw(self) -> bool:
        """Whether it is a camera's raw file, whose first page is often a thumbnail."""
        thumbnail = self.first.one(_SUBFILE, 0) & 1 and {_SUB_IFDS, _MAKE} <= self.first.tags.keys()
        return bool(thumbnail) or _DNG_VERSION in self.first.tags or self.first.one(_PHOTOMETRIC, 0) in _SENSOR


def read_structure(data: bytes) -> Tiff:
    """Read the tags of a TIFF and check that its pages and their pixels lie inside the file.

    Raises:
        RefusedError: a part lies outside, the pages form a circle, or there are too many.
    """
    layout, place = _header(data)
    starts: list[int] = []
    seen = set()
    while place:
        if place in seen:
            raise RefusedError("damaged (its pages form a circle)")
        if len(starts) == _MAX_PAGES:
            raise RefusedError(f"too many pages: the limit is {_MAX_PAGES:,}")
        seen.add(place)
        starts.append(place)
        place = _next(data, layout, place)
    if not starts:
        raise RefusedError("damaged (a TIFF without a page)")
    first = _checked(data, layout, starts[0])
    if len(starts) == 1 or not first.is_grey:
        return Tiff((first,))
    if not all(_page(data, layout, start).kind == first.kind for start in starts[1 : MAX_BANDS + 1]):
        return Tiff((first,))
    if len(starts) > MAX_BANDS:
        raise RefusedError(f"{len(starts):,} grey pages as bands: the limit is {MAX_BANDS:,}")
    return Tiff((first, *(_checked(data, layout, start) for start in starts[1:])))


def decode_bands(data: bytes, structure: Tiff) -> Shaped[Tensor, "C H W"]:
    """Decode a TIFF of several samples a pixel, or of pages that are bands, upright and with white as the largest."""
    try:
        import tifffile
    except ImportError as error:
        raise RefusedError('a TIFF of several bands: pip install "vitrail[tiff]" to read it') from error
    with tifffile.TiffFile(TimedFile(data)) as file:
        first = file.pages.first
        if structure.bands > 1:
            array = np.stack([file.pages[index].asarray() for index in range(structure.bands)])
        else:
            array = _samples_first(first.asarray(), first.axes)
    if structure.first.one(_PHOTOMETRIC, _BLACK_IS_ZERO) == _WHITE_IS_ZERO:
        array = inverted(array, structure.first.one(_BITS, 1))
    return _UPRIGHT.get(structure.first.one(_ORIENTATION, 1), _as_it_is)(scale_bands(array))


def inverted(array: np.ndarray, bits: int) -> np.ndarray:
    """Turn "white is zero" around; numbers with a sign and floats have no white, and stay as they are."""
    if array.dtype.kind == "b":
        return ~array
    return (2**bits - 1 - array).astype(array.dtype) if array.dtype.kind == "u" else array


def _samples_first(array: np.ndarray, axes: str) -> np.ndarray:
    if array.size == 0:
        raise RefusedError("a TIFF of a kind that is not read: its number of bits or its compression is unknown")
    if array.ndim == 2:
        return array[None]
    if array.ndim != 3:
        raise RefusedError(f"a TIFF of axes {axes}, where one image of several bands is needed")
    return array if axes.startswith("S") else np.moveaxis(array, -1, 0)


def _as_it_is(image: Tensor) -> Tensor:
    return image


_UPRIGHT: dict[int, Callable[[Tensor], Tensor]] = {
    2: lambda image: image.flip(2),
    3: lambda image: image.flip(1, 2),
    4: lambda image: image.flip(1),
    5: lambda image: image.transpose(1, 2).contiguous(),
    6: lambda image: image.transpose(1, 2).flip(2),
    7: lambda image: image.transpose(1, 2).flip(1, 2),
    8: lambda image: image.transpose(1, 2).flip(1),
}


def _header(data: bytes) -> tuple[_Layout, int]:
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    layout = _Layout(order, "Q", 20, "Q") if big else _Layout(order, "H", 12, "I")
    return layout, _number(data, layout, layout.value, 8 if big else 4)


def _number(data: bytes, layout: _Layout, code: str, place: int) -> int:
    size = struct.calcsize(layout.order + code)
    return int(struct.unpack(layout.order + code, _part(data, place, size))[0])


def _part(data: bytes, place: int, size: int) -> bytes:
    if place + size > len(data):
        raise RefusedError("truncated: a part of the TIFF lies beyond the end of the file")
    return data[place : place + size]


def _entries(data: bytes, layout: _Layout, place: int) -> tuple[int, int]:
    """Place of the first entry of a directory, and the number of entries."""
    return place + struct.calcsize(layout.order + layout.entries), _number(data, layout, layout.entries, place)


def _next(data: bytes, layout: _Layout, place: int) -> int:
    start, count = _entries(data, layout, place)
    return _number(data, layout, layout.value, start + count * layout.entry)


def _page(data: bytes, layout: _Layout, place: int) -> Page:
    start, count = _entries(data, layout, place)
    table = _part(data, start, count * layout.entry)
    tags: dict[int, tuple[int, ...]] = {}
    for at in range(0, len(table), layout.entry):
        tag, kind, number = struct.unpack_from(f"{layout.order}HH{layout.value}", table, at)
        values = _values(data, layout, kind, number, start + at + 4 + struct.calcsize(layout.value), tag in _READ)
        tags.setdefault(tag, values)
    return Page(tags)


def _values(data: bytes, layout: _Layout, kind: int, number: int, place: int, wanted: bool) -> tuple[int, ...]:
    """Values of one entry, if wanted, whose `place` is that of the values or of their offset."""
    code = _CODES.get(kind)
    size = number * (struct.calcsize(layout.order + code) if code else _SIZES.get(kind, 0))
    if size > struct.calcsize(layout.value):
        place = _number(data, layout, layout.value, place)
    part = _part(data, place, size)
    return struct.unpack(f"{layout.order}{number}{code}", part) if code and wanted else ()


def _checked(data: bytes, layout: _Layout, place: int) -> Page:
    """Tags of a page, after checking that it has a size and that all its pixels lie inside the file."""
    page = _page(data, layout, place)
    needed = {_TILES, _TILE_WIDTH, _TILE_HEIGHT} if _TILES in page.tags else {_STRIPS}
    for tag in (_WIDTH, _HEIGHT, *(() if page.compression == _OLD_JPEG else sorted(needed))):
        if not page.tags.get(tag):
            raise RefusedError(f"damaged (a TIFF without its tag {tag})")
    for start, size in page.parts:
        _part(data, start, size or 0)
    return page
