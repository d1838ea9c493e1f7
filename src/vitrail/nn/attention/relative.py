"""Relative positions: biases of attention scores that depend on the offset between query and key."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, fx, nn

from ..embed.positions import resample_positions
from ..tokens import Tokens
from .multi_head import MultiHeadAttention


class RelativeBias(nn.Module):
    """A learned number for each offset and head (Liu et al., 2021, "Swin Transformer", equation 4).

    Tokens -> (h, N, N). Smaller grids than the window use a part of the offsets.

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
        """Return the table for another window."""
        old, new = ((2 * rows - 1, 2 * columns - 1) for rows, columns in (self.window, window))
        return resample_positions(self.table[None], old, new, antialias=False)[0]


class ContinuousRelativeBias(nn.Module):
    """A bias for each offset and head from a small MLP (Liu et al., 2022, "Swin Transformer V2", section 3.3).

    Tokens -> (h, N, N), for any grid. The input is the logarithm of the offsets, so that offsets in larger windows than
    in training are not far outside the trained range.

    Args:
        window: (rows, columns) of the grid at training, whose largest offset counts as 8.
        num_heads: heads h.
        hidden_dim: hidden width of the MLP.
    """

    def __init__(self, window: tuple[int, int], num_heads: int, *, hidden_dim: int = 512) -> None:
        super().__init__()
        self.window = window
        self.network = nn.Sequential(nn.Linear(2, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, num_heads, bias=False))

    def forward(self, tokens: Tokens) -> Float[Tensor, "h N N"]:
        rows, columns = tokens.grid
        x = tokens.x
        offsets = log_offsets((rows, columns), self.window, x.device).to(x.dtype)
        table = 16 * self.network(offsets).sigmoid()
        return table[offset_index((rows, columns), (rows, columns), x.device)].permute(2, 0, 1)


@fx.wrap
def log_offsets(grid: tuple[int, int], window: tuple[int, int], device: torch.device) -> Float[Tensor, "M 2"]:
    """(down, right) of each row of a table of offsets: sign(x) log2(1 + |x|) / 3, where 8 is the largest offset.

    Always in float32, as in the published models.
    """

    def axis(length: int, side: int) -> Tensor:
        steps = torch.arange(1 - length, length, device=device, dtype=torch.float32)
        offset = steps / max(side - 1, 1) * 8
        sign = offset.sign()  # for abs(), which OpenVINO 2026.4 drops after a product of constants
        return sign * (sign * offset + 1).log2() / math.log2(8)

    down, right = torch.meshgrid(axis(grid[0], window[0]), axis(grid[1], window[1]), indexing="ij")
    return torch.stack([down.flatten(), right.flatten()], dim=1)


class RelativeBiasWithClass(nn.Module):
    """A learned number for each offset and head, and three more for the class token. Tokens -> (h, N, N).

    Bao et al. (2022), "BEiT", section 2.2, as in its code: the last three rows of the table are for class token to
    patch, patch to class token, and class token to itself. A grid other than the stored one gets the
    offsets resampled, as in transformers. For merged and pruned tokens see `between_tokens`.

    Args:
        window: (rows, columns) of the stored grid.
        num_heads: heads h.
    """

    def __init__(self, window: tuple[int, int], num_heads: int) -> None:
        super().__init__()
        self.window = window
        self.table = nn.Parameter(torch.zeros((2 * window[0] - 1) * (2 * window[1] - 1) + 3, num_heads))

    def forward(self, tokens: Tokens) -> Float[Tensor, "*images h N N"]:
        rows, columns = tokens.grid
        table = self.resampled((rows, columns))
        return between_tokens(table[class_offset_index((rows, columns), table.device)].permute(2, 0, 1), tokens)

    def resampled(self, window: tuple[int, int]) -> Float[Tensor, "M h"]:
        """Return the table for another window."""
        return _resampled_offsets(self.table, self.window, window)


# torch.fx cannot trace code that depends on shapes: calls of these functions are leaves of its graphs.
fx.wrap("resample_positions")


@fx.wrap
def _resampled_offsets(
    table: Float[Tensor, "M h"], old: tuple[int, int], new: tuple[int, int]
) -> Float[Tensor, "M2 h"]:
    """Resample a table of offsets, with three rows for the class token, to another window."""
    if new == old:
        return table
    before, after = ((2 * rows - 1, 2 * columns - 1) for rows, columns in (old, new))
    image = table[:-3].t().unflatten(1, before).unsqueeze(0)
    image = F.interpolate(image, size=after, mode="bilinear", align_corners=False)
    return torch.cat([image[0].flatten(1).t(), table[-3:]])


@fx.wrap
def class_offset_index(grid: tuple[int, int], device: torch.device) -> Int[Tensor, "N1 N1"]:
    """`offset_index` with a class token first, whose pairs have the three rows after the offsets."""
    index = offset_index(grid, grid, device)
    to_patch = (2 * grid[0] - 1) * (2 * grid[1] - 1)
    index = F.pad(F.pad(index, (1, 0), value=to_patch + 1), (0, 0, 1, 0), value=to_patch)
    index[0, 0] = to_patch + 2
    return index


@fx.wrap
def offset_index(grid: tuple[int, int], window: tuple[int, int], device: torch.device) -> Int[Tensor, "N N"]:
    """Row in a table of (2 rows - 1) × (2 columns - 1) offsets for each pair of cells, query first."""
    row, column = torch.meshgrid(
        torch.arange(grid[0], device=device), torch.arange(grid[1], device=device), indexing="ij"
    )
    row, column = row.flatten(), column.flatten()
    down = row[:, None] - row[None, :] + window[0] - 1
    right = column[:, None] - column[None, :] + window[1] - 1
    return down * (2 * window[1] - 1) + right


class RelativePositionAttention(MultiHeadAttention):
    """Multi-head attention with a learned bias for each offset between tokens, q kᵀ / √d + r. Tokens -> Tokens.

    Args:
        dim, num_heads, dropout: as in `MultiHeadAttention`.
        grid: (rows, columns) of the stored table of offsets; for other grids it is resampled.
    """

    def __init__(self, dim: int, num_heads: int, grid: tuple[int, int] = (14, 14), *, dropout: float = 0.0) -> None:
        super().__init__(dim, num_heads, bias=AnyGridBias(RelativeBias(grid, num_heads)), dropout=dropout)


class AnyGridBias(nn.Module):
    """A relative bias for any grid, with the table resampled; 0 for prefix tokens, which have no position."""

    def __init__(self, relative: RelativeBias) -> None:
        super().__init__()
        self.relative = relative

    def forward(self, tokens: Tokens) -> Float[Tensor, "*images h N N"]:
        rows, columns = tokens.grid
        bias = spread_offsets(self.relative.resampled((rows, columns)), (rows, columns))
        return between_tokens(F.pad(bias, (tokens.prefix, 0, tokens.prefix, 0)), tokens)


def between_tokens(bias: Float[Tensor, "h N N"], tokens: Tokens) -> Float[Tensor, "*images h M M"]:
    """Bias between the tokens from a bias between prefix tokens and cells, (images, h, M, M).

    The position of a token is the cell nearest to the mean position of its cells, `Tokens.centre`. If token n is cell
    n, it is the bias itself.
    """
    centre = tokens.centre
    if centre is None:
        return bias
    lead = torch.arange(tokens.prefix, device=bias.device).expand(tokens.x.shape[0], -1)
    places = torch.cat([lead, centre + tokens.prefix], dim=1)
    pairs = places[:, :, None] * bias.shape[2] + places[:, None, :]
    found = bias.flatten(1).index_select(1, pairs.flatten())
    return found.unflatten(1, pairs.shape).transpose(0, 1)


def spread_offsets(table: Float[Tensor, "M h"], grid: tuple[int, int]) -> Float[Tensor, "h N N"]:
    """`table[offset_index(grid, grid)]`, heads first, in a third of the time on long sequences.

    The offsets of one query are a window of the table, which moves opposite to the query.
    """
    offsets = table.T.unflatten(1, (2 * grid[0] - 1, 2 * grid[1] - 1)).flip(1, 2)
    windows = offsets.unfold(1, grid[0], 1).unfold(2, grid[1], 1).flip(1, 2)
    return windows.flatten(3).flatten(1, 2)
