"""Near-duplicates: pairs of images that are equal up to scale, compression, brightness, contrast or a flip."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from ..progress import Track, silent

SIMILAR = 0.9
"""Least correlation of the details of two near-duplicates."""
SIMILAR_PLAIN = 0.97
"""The same for images with so little detail that different ones correlate, such as digits; see LOG.md."""
_SIDE, _COARSE, _CANDIDATE, _BLOCK = 32, 16, 0.95, 2048
_FLAT = 1e-3
"""Deviation of the pixels below which an image has no content to compare."""


@dataclass(frozen=True, slots=True)
class NearPair:
    """Two images by index, the correlation of their pixels, and whether one of them is mirrored."""

    first: int
    second: int
    similarity: float
    mirrored: bool


def near_duplicates(
    images: UInt8[Tensor, "n C H W"], *, least: float = SIMILAR, progress: Track = silent
) -> list[NearPair]:
    """Pairs of near-duplicates, the most similar first.

    Images are compared at 16 × 16 pixels, candidates again at 32 × 32; the number of both is the least correlation of
    the pixels, and of the details: the differences between neighbouring pixels.

    Args:
        images: resized to one size, whole images without a crop.
        least: least correlation.
        progress: reports the blocks that are compared.
    """
    coarse = _signatures(images, _COARSE)
    found = []
    for first, second, mirrored in _candidates(coarse, progress):
        one, other = images[first].float(), images[second].float()
        similarity = _similarity(one, other.flip(-1) if mirrored else other)
        if similarity >= least:
            found.append(NearPair(first, second, similarity, mirrored))
    return sorted(found, key=lambda pair: (-pair.similarity, pair.first, pair.second))


def duplicate_groups(count: int, pairs: list[NearPair]) -> list[int]:
    """Group of each image: the smallest index of all images that are connected with it by pairs."""
    parent = list(range(count))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for pair in pairs:
        low, high = sorted((root(pair.first), root(pair.second)))
        parent[high] = low
    return [root(place) for place in range(count)]


def _signatures(images: UInt8[Tensor, "n C H W"], side: int) -> Float[Tensor, "n d"]:
    """Centred unit vectors of the resized images; zero for flat images."""
    return torch.cat([_unit(_resized(part.float(), side)) for part in images.split(_BLOCK)])


def _resized(images: Float[Tensor, "B C H W"], side: int) -> Float[Tensor, "B C S S"]:
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)


def _unit(images: Float[Tensor, "B ..."]) -> Float[Tensor, "B d"]:
    flat = images.flatten(1) / 255
    centred = flat - flat.mean(dim=1, keepdim=True)
    deviation = centred.square().mean(dim=1, keepdim=True).sqrt()
    return torch.where(deviation < _FLAT, 0.0, F.normalize(centred, dim=1))


def _candidates(signatures: Float[Tensor, "n d"], progress: Track) -> Iterator[tuple[int, int, bool]]:
    """(first, second, mirrored) of pairs whose signatures are similar, first < second."""
    side = _COARSE
    mirrored = signatures.reshape(len(signatures), -1, side, side).flip(-1).flatten(1)
    starts = range(0, len(signatures), _BLOCK)
    for start in progress(starts, len(starts), "near-duplicates"):
        block = signatures[start : start + _BLOCK]
        plain = block @ signatures[start:].T
        flipped = block @ mirrored[start:].T
        best = torch.maximum(plain, flipped).triu(diagonal=1)
        for row, column in (best >= _CANDIDATE).nonzero().tolist():
            yield start + row, start + column, bool(flipped[row, column] > plain[row, column])


def _similarity(one: Float[Tensor, "C H W"], other: Float[Tensor, "C H W"]) -> float:
    """The lower of two correlations: of the pixels, and of the differences between neighbours."""
    pair = _resized(torch.stack([one, other]), _SIDE)
    across, down = pair.diff(dim=3).flatten(1), pair.diff(dim=2).flatten(1)
    pixels, details = _unit(pair), F.normalize(torch.cat([across, down], dim=1), dim=1)
    return float(torch.minimum((pixels[0] * pixels[1]).sum(), (details[0] * details[1]).sum()))
