"""Patch embedding with large patches in plain regions of an image and small ones in detailed regions."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..tokens import Tokens
from .patches import PatchEmbed
from .positions import LearnedPositions
from .quadtree import Detail, quadtree, quadtree_cover


class AdaptivePatchEmbed(nn.Module):
    """Content-adaptive patch embedding: pixels (B, C, H, W) -> packed Tokens.

    The sizes are those of a quadtree (Ronen et al., 2023, "Vision transformers with mixed-resolution tokenization").
    A larger patch is shrunk to the smallest size and projected by the same filters (Choudhury et al., 2025,
    "Accelerating vision transformers with adaptive patch sizes", section 3.2); its position is the mean of those of
    the cells that it covers, and a learned vector is added for its size. If all patches have the smallest size, this is
    `PatchEmbed` with `LearnedPositions`.

    Args:
        patches: embedding of the smallest patches, which are square.
        positions: positions of its grid, without prefix rows.
        levels: number of patch sizes, each twice the one before.
        threshold: a cell whose `detail` is below it is not split.
        detail: measure of detail, `quadtree.variance` or `quadtree.entropy`.
    """

    def __init__(
        self, patches: PatchEmbed, positions: LearnedPositions, *, levels: int, threshold: float, detail: Detail
    ) -> None:
        super().__init__()
        rows, columns = patches.patch_size
        if rows != columns or levels < 1:
            raise ValueError(
                f"patches {rows}×{columns} in {levels} levels: a quadtree needs square patches and levels of at least 1"
            )
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
        levels = quadtree(pixels, side, self.levels, self.threshold, self.detail)
        sequences, owners = [], []
        for level, chosen in enumerate(levels):
            image, row, column = chosen.nonzero(as_tuple=True)
            if image.numel():
                cells = whole_cells(_shrunk(pixels, 2**level), side)[image, row, column]
                place = _shrunk(table, 2**level)[0, :, row, column].t()
                sequences.append(self.patches.project(cells).flatten(1) + place + self.size[level])
                owners.append(image)
        owner = torch.cat(owners)
        lengths = tuple(owner.bincount(minlength=pixels.shape[0]).tolist())
        x = torch.cat(sequences)[owner.argsort(stable=True)][None]
        return Tokens(x, grid, lengths=lengths, cover=quadtree_cover(levels))


def whole_cells(pixels: Float[Tensor, "B C H W"], side: int) -> Float[Tensor, "B h w C side side"]:
    """Split images into cells of side × side pixels; incomplete cells are left out."""
    rows, columns = pixels.shape[2] // side, pixels.shape[3] // side
    whole = pixels[:, :, : rows * side, : columns * side]
    return whole.unflatten(3, (columns, side)).unflatten(2, (rows, side)).permute(0, 2, 4, 1, 3, 5)


def _shrunk(image: Float[Tensor, "B C H W"], factor: int) -> Float[Tensor, "B C _ _"]:
    return F.avg_pool2d(image, factor) if factor > 1 else image
