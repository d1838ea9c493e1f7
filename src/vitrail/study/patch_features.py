"""Image features that need no labels and no trained model: responses to a dictionary of the images' own patches.

Coates, Lee and Ng (2011), "An analysis of single-layer networks in unsupervised feature learning": patches are
normalised and whitened, clustered, and every image is described by its rectified responses to the clusters, summed
over quarters of the image. A linear classifier on them is far better after a minute than a network from scratch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from ..data.seeds import derive
from ..progress import Track, silent

PATCH = 6
"""Side of a patch in pixels."""
_PATCHES, _PATCHES_EACH = 60_000, 100
_ROUNDS, _WHITENING, _THRESHOLD, _BATCH = 10, 0.1, 0.25, 64
_CONTRAST = 10 / 255**2
"""Variance that is added to a patch's own, so that noise in flat patches is not amplified."""


@dataclass(frozen=True, slots=True)
class PatchDictionary:
    """Whitened cluster centres of patches.

    Attributes:
        mean: (C·P·P,) mean of the normalised patches.
        filters: (C·P·P, words) whitening and unit-length centres, multiplied.
        stride: pixels between neighbouring patches.
    """

    mean: Float[Tensor, " patch"]
    filters: Float[Tensor, "patch words"]
    stride: int

    def __call__(self, images: UInt8[Tensor, "B C H W"]) -> Float[Tensor, "B features"]:
        """Features of images: 8 for each word (two signs, four quarters), on a square-root scale."""
        patches = _normalised(F.unfold(images.float() / 255, PATCH, stride=self.stride).transpose(1, 2))
        response = (patches - self.mean) @ self.filters
        both = torch.cat([response - _THRESHOLD, -response - _THRESHOLD], dim=2).relu()
        height, width = ((side - PATCH) // self.stride + 1 for side in images.shape[2:])
        grid = both.transpose(1, 2).reshape(len(images), -1, height, width)
        return F.adaptive_avg_pool2d(grid, 2).flatten(1).sqrt()


def fit_dictionary(images: UInt8[Tensor, "n C H W"], *, words: int = 400, seed: int = 0) -> PatchDictionary:
    """Cluster random patches of images by spherical k-means.

    Args:
        images: of one size, at least 8 pixels a side.
        words: number of cluster centres.
        seed: seed of the patches and of the first centres.
    """
    source = torch.Generator().manual_seed(derive(seed, "patch dictionary"))
    patches = _normalised(torch.stack(list(_drawn(images, source))).float() / 255)
    mean = patches.mean(dim=0)
    centred = patches - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    whitening = vectors * (values.clamp(min=0) + _WHITENING).rsqrt() @ vectors.T
    centres = _cluster(centred @ whitening, words, source)
    stride = 1 if min(images.shape[2:]) <= 32 else 2
    return PatchDictionary(mean, whitening @ centres.T, stride)


def patch_features(
    images: UInt8[Tensor, "n C H W"], dictionary: PatchDictionary, *, progress: Track = silent
) -> Float[Tensor, "n features"]:
    """Features of many images, batch by batch."""
    starts = range(0, len(images), _BATCH)
    parts = [dictionary(images[start : start + _BATCH]) for start in progress(starts, len(starts), "features")]
    return torch.cat(parts)


def _normalised(patches: Float[Tensor, "... patch"]) -> Float[Tensor, "... patch"]:
    """Patches with mean 0 and, but for flat ones, variance 1."""
    centred = patches - patches.mean(dim=-1, keepdim=True)
    return centred * (centred.square().mean(dim=-1, keepdim=True) + _CONTRAST).rsqrt()


def _drawn(images: UInt8[Tensor, "n C H W"], source: torch.Generator) -> Iterator[UInt8[Tensor, " patch"]]:
    """Random patches."""
    height, width = (side - PATCH + 1 for side in images.shape[2:])
    bounds: Sequence[int] = (len(images), height, width)
    count = min(_PATCHES, _PATCHES_EACH * len(images))
    places = [torch.randint(bound, (count,), generator=source).tolist() for bound in bounds]
    for index, top, left in zip(*places, strict=True):
        yield images[index, :, top : top + PATCH, left : left + PATCH].reshape(-1)


def _cluster(points: Float[Tensor, "n d"], count: int, source: torch.Generator) -> Float[Tensor, "count d"]:
    """Unit vectors such that every point is near a multiple, also a negative one, of one of them."""
    centres = F.normalize(torch.randn(count, points.shape[1], generator=source), dim=1)
    for _ in range(_ROUNDS):
        response = points @ centres.T
        best = response.abs().argmax(dim=1)
        weight = response.gather(1, best[:, None])
        sums = torch.zeros_like(centres).index_add_(0, best, points * weight)
        empty = sums.norm(dim=1) < 1e-6
        drawn = torch.randint(len(points), (int(empty.sum()),), generator=source)
        sums[empty] = points[drawn]
        centres = F.normalize(sums, dim=1)
    return centres
