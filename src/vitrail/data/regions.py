"""Maps of classes from regions: polygons, and run lengths as COCO writes them (RLE)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int16
from torch import Tensor

from .decode import BadImage
from .image_header import upright_size
from .samples import Location

_Runs = np.ndarray
"""(R,) int64: numbers of pixels, column by column, in turn outside and inside the region."""


@dataclass(frozen=True, slots=True)
class Region:
    """Region of one object.

    Attributes:
        label: its class.
        area: its area, in the unit of the polygons, or in pixels.
        polygons: corners x, y, x, y … of each polygon, as the bytes of float64; the region is their union.
        runs: run lengths, as the bytes of int64; empty if there are polygons.
    """

    label: int
    area: float
    polygons: tuple[bytes, ...] = ()
    runs: bytes = b""

    @classmethod
    def of_polygons(cls, label: int, polygons: Sequence[Sequence[float]]) -> "Region":
        """Region of polygons x, y, x, y …; those without area are left out."""
        arrays = [np.asarray(polygon, dtype=np.float64) for polygon in polygons]
        areas = [_area(array) for array in arrays]
        kept = tuple(array.tobytes() for array, area in zip(arrays, areas, strict=True) if area > 0)
        return cls(label, sum(areas), kept)

    @classmethod
    def of_runs(cls, label: int, runs: _Runs) -> "Region":
        """Region of run lengths."""
        return cls(label, float(runs[1::2].sum()), runs=runs.astype(np.int64).tobytes())

    def mask(self, height: int, width: int, scale: tuple[float, float]) -> tuple[int, np.ndarray]:
        """First row, and (rows, width) bool: whether the centre of each pixel is in the region.

        Args:
            height, width: of the image.
            scale: factors of x and y from the unit of the polygons to pixels.
        """
        if self.runs:
            runs = np.frombuffer(self.runs, np.int64)
            return 0, np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T
        parts = [np.frombuffer(data).reshape(-1, 2) * scale for data in self.polygons]
        tops = [min(max(int(np.floor(part[:, 1].min())), 0), height) for part in parts]
        ends = [min(max(int(np.ceil(part[:, 1].max())), 0), height) for part in parts]
        top = min(tops, default=0)
        found = np.zeros((max(max(ends, default=0) - top, 0), width), dtype=bool)
        for part in parts:
            found |= _inside(part - (0, top), *found.shape)
        return top, found


@dataclass(frozen=True, slots=True)
class RegionMap:
    """A `MapLabel` of regions: where they overlap the smaller one is in front, and the rest is class 0.

    Attributes:
        regions: the regions, the largest first.
        size: height and width of the image; None: that of the upright image at `location`.
        fractions: whether polygons are in fractions of the image's sides, not in pixels.
        location: the image.
    """

    regions: tuple[Region, ...]
    size: tuple[int, int] | None
    fractions: bool = False
    location: Location | None = None

    @classmethod
    def of(
        cls,
        regions: Sequence[Region],
        size: tuple[int, int] | None,
        *,
        fractions: bool = False,
        location: Location | None = None,
    ) -> "RegionMap":
        """Map of regions in any order; of equal areas the later one is in front."""
        ordered = tuple(sorted(regions, key=lambda region: -region.area))
        return cls(ordered, size, fractions, location)

    def sized(self, height: int, width: int) -> "RegionMap":
        """The map for an image whose size is known."""
        return replace(self, size=(height, width), location=None)

    def read(self) -> Int16[Tensor, "H W"]:
        """Draw the regions.

        Raises:
            BadImage: the size is not known, and the image cannot be read.
        """
        size = self.size
        if size is None:
            size = upright_size(self.location) if self.location is not None else None
            if size is None:
                raise BadImage("a map of regions", "the size of its image cannot be read")
        height, width = size
        scale = (float(width), float(height)) if self.fractions else (1.0, 1.0)
        drawn = np.zeros((height, width), dtype=np.int16)
        for region in self.regions:
            top, mask = region.mask(height, width, scale)
            drawn[top : top + len(mask)][mask] = region.label
        return torch.from_numpy(drawn)


def parse_runs(counts: object, size: object, image_size: tuple[int, int]) -> _Runs | str:
    """Run lengths of COCO's `{"counts": …, "size": [height, width]}`, or what is wrong with them, as a clause.

    Args:
        counts: a list of numbers, or text in COCO's compressed form.
        size: height and width that the runs are for.
        image_size: height and width of the image.
    """
    height, width = image_size
    if size != [height, width]:
        return f"its run lengths are for [height, width] {str(size)[:40]}, the image is [{height}, {width}]"
    if isinstance(counts, str):
        runs = _uncompressed(counts)
    elif isinstance(counts, list) and all(type(count) is int and 0 <= count <= height * width for count in counts):
        runs = np.array(counts, dtype=np.int64)
    else:
        return "its run lengths are neither numbers of pixels nor text"
    if runs is None or (runs < 0).any():
        return "its compressed run lengths are damaged"
    if (total := int(runs.sum())) != height * width:
        return f"its run lengths are of {total:,} pixels, the image has {height * width:,}"
    return runs


def _uncompressed(text: str) -> _Runs | None:
    """Run lengths of COCO's compressed form; None if the text is not in it.

    Each number is written in characters of 6 bits from "0" on, the lowest 5 bits first; the sixth bit says that
    another character follows, and the fifth of the last is the sign. From the fourth on, a number is the difference
    from the one before the last.
    """
    codes = np.frombuffer(text.encode("utf-8", "replace"), np.uint8).astype(np.int64) - 48
    if not len(codes):
        return np.zeros(0, dtype=np.int64)
    ends = np.flatnonzero((codes & 32) == 0)
    if codes.min() < 0 or codes.max() > 63 or not len(ends) or ends[-1] != len(codes) - 1:
        return None
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 7:  # 35 bits: more pixels than any image has
        return None
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    values = np.add.reduceat((codes & 31) << shifts, starts)
    values -= np.where(codes[ends] & 16, np.int64(1) << (5 * lengths), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _area(corners: np.ndarray) -> float:
    """Area of a polygon x, y, x, y … (the shoelace formula)."""
    x, y = corners[::2], corners[1::2]
    inner = float(x[:-1] @ y[1:] - y[:-1] @ x[1:])  # np.roll takes ten times as long
    return abs(inner + float(x[-1] * y[0] - y[-1] * x[0])) / 2


def _inside(corners: np.ndarray, height: int, width: int) -> np.ndarray:
    """(height, width) bool: whether the centre of each pixel is inside a polygon, by the even-odd rule.

    Each edge changes, in every row whose centre line it crosses, inside and outside for all pixels right of it.
    """
    x0, y0 = corners.T
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    # Rows whose centre y + 0.5 is at or below the upper end of the edge, and above its lower end.
    first = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), 0, height).astype(np.int64)
    counts = last - first
    edge = np.repeat(np.arange(len(x0)), counts)
    rows = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    share = (rows + 0.5 - y0[edge]) / (y1[edge] - y0[edge])
    crossing = x0[edge] + share * (x1[edge] - x0[edge])
    columns = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
    changes = np.zeros((height, width + 1), dtype=np.uint8)  # only whether the number is odd matters
    np.add.at(changes, (rows, columns), 1)
    odd: np.ndarray = np.cumsum(changes[:, :width], axis=1, dtype=np.uint8) % 2 == 1
    return odd
