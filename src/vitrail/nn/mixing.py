"""Token mixing without attention: one MLP along the tokens, shared by all channels."""

from torch import Tensor, fx, nn

from .mlp import MLP
from .tokens import Tokens


class TokenMLP(nn.Module):
    """The MLP along the tokens instead of the channels (Tolstikhin et al., 2021, equation 1). Tokens -> Tokens.

    It has weights for each position, so the grid is fixed.

    Args:
        grid: (rows, columns) of the tokens.
        hidden_dim: hidden width, D_S in the paper.
        dropout: as in `MLP`.
    """

    def __init__(self, grid: tuple[int, int], hidden_dim: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.grid = grid
        self.mlp = MLP(grid[0] * grid[1], hidden_dim, dropout=dropout)

    def forward(self, tokens: Tokens) -> Tokens:
        mixed = self.mlp(tokens.with_x(_checked(tokens.x, tokens.grid, self.grid).transpose(1, 2)))
        return tokens.with_x(mixed.x.transpose(1, 2))


@fx.wrap  # torch.fx cannot trace code that depends on shapes: calls are leaves of its graphs
def _checked(x: Tensor, grid: tuple[int, ...], expected: tuple[int, int]) -> Tensor:
    if tuple(grid) != expected:
        raise ValueError(
            f"a grid of {_sides(grid)} tokens does not fit weights for {_sides(expected)}: "
            "resize the image, or build the model for its image_size"
        )
    return x


def _sides(grid: tuple[int, ...]) -> str:
    return "×".join(map(str, grid))
