"""Discrete tokenizer of image patches: the nearest of a codebook's patches, found by k-means."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..errors import VitrailError
from ..nn.masking import patchify

_PATCHES_A_CODE, _MOST_PATCHES, _ITERATIONS = 64, 200_000, 20


class PatchTokenizer(nn.Module):
    """Number of the nearest codebook entry of each patch: pixels (B, C, H, W) -> (B, N).

    Args:
        codes: number of entries K of the codebook.
        channels: C of the pixels.
        patch_size: (height, width) of a patch in pixels.
    """

    codebook: Float[Tensor, "K P"]

    def __init__(self, codes: int, channels: int, patch_size: tuple[int, int]) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.register_buffer("codebook", torch.zeros(codes, channels * patch_size[0] * patch_size[1]))

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> Int[Tensor, "B N"]:
        patches = patchify(pixels.float(), self.patch_size)
        return nearest_code(patches.flatten(0, 1), self.codebook).view(patches.shape[:2])

    def fit(self, batches: Iterator[Float[Tensor, "B C H W"]]) -> None:
        """Fit the codebook to patches of these images by k-means (Lloyd, 1982), from a seeded start of k-means++.

        Raises:
            VitrailError: the images have fewer different patches than the codebook has entries.
        """
        codes, found = len(self.codebook), 0
        enough, parts = min(_MOST_PATCHES, _PATCHES_A_CODE * codes), []
        while found < enough:
            parts.append(patchify(next(batches).float(), self.patch_size).flatten(0, 1))
            found += len(parts[-1])
        patches = torch.cat(parts)[:enough]
        different = patches.unique(dim=0)
        if len(different) < codes:
            raise VitrailError(
                f"objective.codes is {codes}, and the training images have {len(different)} different patches: use "
                "fewer codes, or smaller patches"
            )
        centres = _spread(patches, codes)
        for _ in range(_ITERATIONS):
            centres = _moved(centres, patches)
        self.codebook.copy_(centres)


def nearest_code(patches: Float[Tensor, "n P"], codebook: Float[Tensor, "K P"]) -> Int[Tensor, " n"]:
    """Index of the entry with the least squared distance to each patch."""
    lengths = codebook.square().sum(dim=1)
    return torch.cat([(lengths - 2 * part @ codebook.T).argmin(dim=1) for part in patches.split(8192)])


def _spread(patches: Float[Tensor, "n P"], count: int) -> Float[Tensor, "K P"]:
    """Patches that are far from one another: each is drawn with a probability proportional to its squared distance from
    those before it (Arthur and Vassilvitskii, 2007, "k-means++")."""
    random = torch.rand(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = [int(random[0] * len(patches))]
    distance = (patches - patches[drawn[0]]).square().sum(dim=1)
    for value in random[1:].tolist():
        total = distance.double().cumsum(dim=0)
        drawn.append(
            int(torch.searchsorted(total, total.new_tensor(value * total[-1].item())).clamp(max=len(total) - 1))
        )
        distance = torch.minimum(distance, (patches - patches[drawn[-1]]).square().sum(dim=1))
    return patches[drawn]


def _moved(centres: Float[Tensor, "K P"], patches: Float[Tensor, "n P"]) -> Float[Tensor, "K P"]:
    """The mean of the patches nearest to each centre; a centre without patches moves to one that is far from all."""
    owner = nearest_code(patches, centres)
    counts = torch.bincount(owner, minlength=len(centres))
    sums = torch.zeros_like(centres).index_add_(0, owner, patches)
    moved = sums / counts.clamp(min=1).unsqueeze(1)
    empty = (counts == 0).nonzero().flatten()
    if len(empty):
        far = (patches - moved[owner]).square().sum(dim=1).topk(len(empty)).indices
        moved[empty] = patches[far]
    return moved
