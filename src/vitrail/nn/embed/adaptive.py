"""From pixels to as many tokens as the content deserves."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..tokens import Tokens
from .patches import PatchEmbed
from .positions import LearnedPositions
from .quadtree import Detail, quadtree


class AdaptivePatchEmbed(nn.Module):
    """Large patches where a picture is plain, small ones where there is detail: pixels (B, C, H, W) -> packed Tokens.

    The sizes are those of a quadtree (Ronen et al., 2023, "Vision transformers with mixed-resolution tokenization").
    A larger patch is shrunk to the smallest size and projected by the same filters (Choudhury et al., 2025,
    "Accelerating vision transformers with adaptive patch sizes", section 3.2); its position is the mean of those of
    the cells that it covers, and a learned vector tells its size. Where all patches are the smallest, this is
    `PatchEmbed` with `LearnedPositions`.

    Args:
        patches: of the smallest size, square.
        positions: of its grid, without prefix rows.
        levels: how many sizes, each twice the one before.
        threshold: a cell with less detail stays whole.
        detail: what is held against it, `quadtree.variance` or `quadtree.entropy`.
    """

    def __init__(
        self, patches: PatchEmbed, positions: LearnedPositions, *, levels: int, threshold: float, detail: Detail
    ) -> None:
        super().__init__()
        rows, columns = patches.patch_size
        if rows != columns or levels < 1:
            raise ValueError(f"patches {rows}×{columns} in {levels} levels: a quadtree needs square ones, and a level")
        self.patches = patches
        self.positions = positions
        self.levels = levels
        self.threshold = threshold
        self.detail = detail
        self.size = nn.Parameter(torch.zeros(levels, positions.weight.shape[2]))

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> Tokens:
        pixels, side = self.patches.fit(pixels), self.patches.patch_size[0]
        grid = self.patches.grid((pixels.shape[2], pixels.shape[3]))
        table = self.positions.table(grid).transpose(1, 2).unflatten(2, grid)
        sequences, owners = [], []
        for level, chosen in enumerate(self._chosen(pixels)):
            picture, row, column = chosen.nonzero(as_tuple=True)
            if picture.numel():
                cells = cut(_shrunk(pixels, 2**level), side)[picture, row, column]
                place = _shrunk(table, 2**level)[0, :, row, column].t()
                sequences.append(self.patches.project(cells).flatten(1) + place + self.size[level])
                owners.append(picture)
        owner = torch.cat(owners)
        lengths = tuple(owner.bincount(minlength=pixels.shape[0]).tolist())
        return Tokens(torch.cat(sequences)[owner.argsort(stable=True)][None], grid, lengths=lengths)

    def cover(self, pixels: Float[Tensor, "B C H W"]) -> Int[Tensor, "B h w"]:
        """Which patch of its picture lies over each cell of the finest grid, counted as `forward` orders them."""
        pixels = self.patches.fit(pixels)
        grid = self.patches.grid((pixels.shape[2], pixels.shape[3]))
        found = torch.zeros(pixels.shape[0], *grid, dtype=torch.long, device=pixels.device)
        before = found.new_zeros(pixels.shape[0], 1)
        for level, chosen in enumerate(self._chosen(pixels)):
            number = (chosen.flatten(1).cumsum(1) - 1 + before).view_as(chosen)
            before = before + chosen.flatten(1).sum(1, keepdim=True)
            for axis in (1, 2):
                chosen, number = (part.repeat_interleave(2**level, dim=axis) for part in (chosen, number))
            reached = found[:, : chosen.shape[1], : chosen.shape[2]]
            reached[chosen] = number[chosen]
        return found

    def _chosen(self, pixels: Float[Tensor, "B C H W"]) -> list[Bool[Tensor, "B _ _"]]:
        return quadtree(pixels, self.patches.patch_size[0], self.levels, self.threshold, self.detail)


def cut(pixels: Float[Tensor, "B C H W"], side: int) -> Float[Tensor, "B h w C side side"]:
    """The cells of a picture, whole ones only."""
    rows, columns = pixels.shape[2] // side, pixels.shape[3] // side
    whole = pixels[:, :, : rows * side, : columns * side]
    return whole.unflatten(3, (columns, side)).unflatten(2, (rows, side)).permute(0, 2, 4, 1, 3, 5)


def _shrunk(image: Float[Tensor, "B C H W"], factor: int) -> Float[Tensor, "B C _ _"]:
    return F.avg_pool2d(image, factor) if factor > 1 else image
