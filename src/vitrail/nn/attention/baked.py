"""Relative and rotary positions that are stored for one grid, see the rewrite `bake_positions`."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from ..embed.baked import on_grid
from ..tokens import Tokens
from .refine import HeadVectors, KeyVectors

Turn = Callable[[HeadVectors, Tensor, Tensor, int], HeadVectors]


class BakedBias(nn.Module):
    """A stored bias of the scores for tokens of one grid: Tokens -> (h, N, M).

    Args:
        table: (h, N, M).
        grid: the grid of the table; tokens of another raise ValueError.
    """

    table: Float[Tensor, "h N M"]

    def __init__(self, table: Float[Tensor, "h N M"], grid: tuple[int, ...]) -> None:
        super().__init__()
        self.grid = grid
        self.register_buffer("table", table)

    def forward(self, tokens: Tokens) -> Float[Tensor, "h N M"]:
        return on_grid(self.table, tokens.grid, self.grid)


class BakedRotation(nn.Module):
    """Rotates queries and keys by stored angles of one grid: (q, k, tokens) -> (q, k).

    Args:
        angles: of each patch and pair of channels, (P, d / 2), or (h, P, d / 2) for each head.
        grid: the grid of the patches; tokens of another raise ValueError.
        turn: rotates (B, h, N, d) by cosines and sines behind the prefix tokens, `turn` or `turn_pairs`.
    """

    cos: Float[Tensor, "*h P half"]
    sin: Float[Tensor, "*h P half"]

    def __init__(self, angles: Float[Tensor, "*h P half"], grid: tuple[int, ...], turn: Turn) -> None:
        super().__init__()
        self.grid = grid
        self.turn = turn
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, q: HeadVectors, k: KeyVectors, tokens: Tokens) -> tuple[HeadVectors, KeyVectors]:
        cos = on_grid(self.cos, tokens.grid, self.grid)
        return self.turn(q, cos, self.sin, tokens.prefix), self.turn(k, cos, self.sin, tokens.prefix)
