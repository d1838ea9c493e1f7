"""Mixing places without attention: the same perceptron along the tokens, for every channel."""

from torch import nn

from .mlp import MLP
from .tokens import Tokens


class TokenMLP(nn.Module):
    """The MLP along the tokens instead of the channels (Tolstikhin et al., 2021, equation 1). Tokens -> Tokens.

    Its weights belong to places: it takes tokens of one grid only.

    Args:
        grid: (rows, columns) of the tokens.
        hidden_dim: D_S of the paper.
        dropout: as in `MLP`.
    """

    def __init__(self, grid: tuple[int, int], hidden_dim: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.grid = grid
        self.mlp = MLP(grid[0] * grid[1], hidden_dim, dropout=dropout)

    def forward(self, tokens: Tokens) -> Tokens:
        if tuple(tokens.grid) != self.grid:
            raise ValueError(
                f"a grid of {_sides(tokens.grid)} tokens does not fit weights for {_sides(self.grid)}: "
                "resize the picture, or build the model for its image_size"
            )
        mixed = self.mlp(tokens.with_x(tokens.x.transpose(1, 2)))
        return tokens.with_x(mixed.x.transpose(1, 2))


def _sides(grid: tuple[int, ...]) -> str:
    return "×".join(map(str, grid))
