"""Relative positions: what is added to the scores of a pair depends on the offset between the two."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from .attention import MultiHeadAttention
from .positions import resample_positions
from .tokens import Tokens


class RelativeBias(nn.Module):
    """A learned number for each offset and head (Liu et al., 2021, "Swin Transformer", equation 4).

    Tokens -> (h, N, N). Grids up to the window use the offsets that they have.

    Args:
        window: (rows, columns) of the largest grid.
        num_heads: heads h.
    """

    def __init__(self, window: tuple[int, int], num_heads: int) -> None:
        super().__init__()
        self.window = window
        self.table = nn.Parameter(torch.empty((2 * window[0] - 1) * (2 * window[1] - 1), num_heads))
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self, tokens: Tokens) -> Float[Tensor, "h N N"]:
        rows, columns = tokens.grid
        index = offset_index((rows, columns), self.window, self.table.device)
        return self.table[index].permute(2, 0, 1)

    def resampled(self, window: tuple[int, int]) -> Float[Tensor, "M h"]:
        """The table for another window."""
        old, new = ((2 * rows - 1, 2 * columns - 1) for rows, columns in (self.window, window))
        return resample_positions(self.table[None], old, new, antialias=False)[0]


def offset_index(grid: tuple[int, int], window: tuple[int, int], device: torch.device) -> Int[Tensor, "N N"]:
    """The row of a (2 rows - 1) × (2 columns - 1) table that belongs to each pair of cells, query first."""
    row, column = torch.meshgrid(
        torch.arange(grid[0], device=device), torch.arange(grid[1], device=device), indexing="ij"
    )
    row, column = row.flatten(), column.flatten()
    down = row[:, None] - row[None, :] + window[0] - 1
    right = column[:, None] - column[None, :] + window[1] - 1
    return down * (2 * window[1] - 1) + right


class RelativePositionAttention(MultiHeadAttention):
    """Every token looks at every token, by content and by offset: q kᵀ / √d + r. Tokens -> Tokens.

    Args:
        dim, num_heads, dropout: as in `MultiHeadAttention`.
        grid: (rows, columns) that the table of offsets is for; other grids get it resampled.
    """

    def __init__(self, dim: int, num_heads: int, grid: tuple[int, int], *, dropout: float = 0.0) -> None:
        super().__init__(dim, num_heads, bias=AnyGridBias(RelativeBias(grid, num_heads)), dropout=dropout)


class AnyGridBias(nn.Module):
    """A relative bias for any grid, its table resampled, behind prefix tokens, which have no place and get 0."""

    def __init__(self, relative: RelativeBias) -> None:
        super().__init__()
        self.relative = relative

    def forward(self, tokens: Tokens) -> Float[Tensor, "h N N"]:
        rows, columns = tokens.grid
        table = self.relative.resampled((rows, columns))
        index = offset_index((rows, columns), (rows, columns), table.device)
        return F.pad(table[index].permute(2, 0, 1), (tokens.prefix, 0, tokens.prefix, 0))
