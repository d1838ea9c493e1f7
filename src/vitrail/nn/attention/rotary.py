"""Rotary positions in units of patches, fixed or learned: (q, k, tokens) -> (q, k).

Channels 2 i and 2 i + 1 of a head are a pair, which is rotated; `refine.RotaryPositions`, of DINOv3, pairs others. A
token of several cells has their mean position.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn

from ..tokens import Tokens
from .refine import HeadVectors, KeyVectors, at_tokens, check_head_dim


class GridRotaryPositions(nn.Module):
    """Rotate queries and keys by the row and the column of a patch (Fang et al., 2023, "EVA-02", section 2.2).

    Half of the pairs of channels turn with one axis, half with the other. Prefix tokens are not rotated.

    Args:
        head_dim: channels d of a head, a multiple of 4.
        base: the d / 4 angles per patch are base ** (-4 i / d), i = 0, 1, ...
        reference: (rows, columns) that other grids are scaled to, as in fine-tuning at another size; None: each patch
            is one unit.
        columns_first: whether the first half of the pairs turns with the column (Heo et al., 2024) or the row (EVA-02).
    """

    def __init__(
        self,
        head_dim: int,
        *,
        base: float = 10_000.0,
        reference: tuple[int, int] | None = None,
        columns_first: bool = False,
    ) -> None:
        super().__init__()
        check_head_dim(head_dim)
        self.head_dim = head_dim
        self.base = base
        self.reference = reference
        self.columns_first = columns_first

    def forward(self, q: HeadVectors, k: KeyVectors, tokens: Tokens) -> tuple[HeadVectors, KeyVectors]:
        angles = at_tokens(self.angles(q, tokens.grid), tokens)
        cos, sin = angles.cos(), angles.sin()
        return turn_pairs(q, cos, sin, tokens.prefix), turn_pairs(k, cos, sin, tokens.prefix)

    def angles(self, like: Tensor, grid: tuple[int, ...]) -> Float[Tensor, "P half"]:
        """Angle of each patch and pair of channels, on the device of `like` and at least in its precision."""
        rows, columns = grid
        return _fixed_angles(like, (rows, columns), self.head_dim, self.base, self.reference, self.columns_first)


class LearnedRotaryPositions(nn.Module):
    """Rotate queries and keys by learned angles per column and row (Heo et al., 2024, "RoPE for ViT", section 3.2).

    Every pair of channels of every head turns with both axes. Prefix tokens are not rotated.

    Args:
        num_heads: number of heads h.
        head_dim: channels d of a head, a multiple of 4.
        base: of the initial lengths, base ** (-4 i / d); their directions are random, the same for all pairs of a head.
    """

    def __init__(self, num_heads: int, head_dim: int, *, base: float = 10.0) -> None:
        super().__init__()
        check_head_dim(head_dim)
        self.base = base
        self.frequencies = nn.Parameter(torch.empty(2, num_heads, head_dim // 2))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialise the frequencies as in the release: two orthogonal directions for each head."""
        _, heads, half = self.frequencies.shape
        lengths = self.base ** (-torch.arange(half // 2, device=self.frequencies.device) / (half // 2))
        direction = torch.rand(heads, 1, device=self.frequencies.device) * 2 * math.pi
        first = direction.expand(heads, half // 2)
        directions = torch.cat([first, first + math.pi / 2], dim=1)
        self.frequencies.copy_(torch.stack([directions.cos(), directions.sin()]) * lengths.repeat(2))

    def forward(self, q: HeadVectors, k: KeyVectors, tokens: Tokens) -> tuple[HeadVectors, KeyVectors]:
        angles = at_tokens(self.angles(q, tokens.grid), tokens)
        cos, sin = angles.cos(), angles.sin()
        return turn_pairs(q, cos, sin, tokens.prefix), turn_pairs(k, cos, sin, tokens.prefix)

    def angles(self, like: Tensor, grid: tuple[int, ...]) -> Float[Tensor, "h P half"]:
        """Angle of each patch and pair of channels of each head, where the frequencies are."""
        rows, columns = grid
        return _learned_angles(self.frequencies, (rows, columns))


# torch.fx cannot trace code that depends on shapes: calls of these functions are leaves of its graphs.


@fx.wrap
def _fixed_angles(
    q: Tensor,
    grid: tuple[int, int],
    head_dim: int,
    base: float,
    reference: tuple[int, int] | None,
    columns_first: bool,
) -> Float[Tensor, "P half"]:
    """Angle of each patch and pair of channels, on the device of `q`, in its precision or in float32 if higher."""
    quarter = head_dim // 4
    rates = base ** -(torch.arange(quarter, device=q.device, dtype=torch.float64) / quarter)
    units = (1.0, 1.0) if reference is None else (reference[0] / grid[0], reference[1] / grid[1])
    y, x = (axis[:, None] * unit * rates for axis, unit in zip(_places(grid, q.device), units, strict=True))
    angles = torch.cat([x, y] if columns_first else [y, x], dim=1)
    return angles.to(torch.promote_types(q.dtype, torch.float32))


@fx.wrap
def _learned_angles(frequencies: Float[Tensor, "2 h half"], grid: tuple[int, int]) -> Float[Tensor, "h P half"]:
    rates = frequencies.to(torch.promote_types(frequencies.dtype, torch.float32))
    y, x = (axis.to(rates.dtype)[None, :, None] for axis in _places(grid, frequencies.device))
    return x * rates[0][:, None] + y * rates[1][:, None]


def _places(grid: tuple[int, int], device: torch.device) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]]:
    """Row and column of each patch, row by row, float64."""
    rows, columns = (torch.arange(side, device=device, dtype=torch.float64) for side in grid)
    return rows.repeat_interleave(grid[1]), columns.repeat(grid[0])


def turn_pairs(x: HeadVectors, cos: Tensor, sin: Tensor, prefix: int) -> HeadVectors:
    """Rotate channel 2 i against channel 2 i + 1, for all tokens after the prefix; in the precision of the angles."""
    lead, patches = x[:, :, :prefix], x[:, :, prefix:]
    cos, sin = (table[..., : patches.shape[2], :] for table in (cos, sin))  # none, for queries of prefix tokens only
    even, odd = patches.unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2)
    return torch.cat([lead, turned.to(x.dtype)], dim=2)
