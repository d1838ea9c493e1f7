"""Positions that are stored for one grid, see the rewrite `bake_positions`."""

from jaxtyping import Float
from torch import Tensor, fx, nn

from ..tokens import Tokens


class BakedPositions(nn.Module):
    """Adds a stored table to the tokens of one grid, prefix tokens included: Tokens -> Tokens.

    Args:
        table: (1, N, D).
        grid: the grid of the table; tokens of another raise ValueError.
    """

    table: Float[Tensor, "1 N D"]

    def __init__(self, table: Float[Tensor, "1 N D"], grid: tuple[int, ...]) -> None:
        super().__init__()
        self.grid = grid
        self.register_buffer("table", table)

    def forward(self, tokens: Tokens) -> Tokens:
        return tokens.with_x(tokens.x + on_grid(self.table, tokens.grid, self.grid))


@fx.wrap  # torch.fx cannot trace code that depends on shapes: calls are leaves of its graphs
def on_grid(table: Tensor, grid: tuple[int, ...], baked: tuple[int, ...]) -> Tensor:
    """The table; a ValueError if the grid is another than that of the table."""
    if tuple(grid) != baked:
        raise ValueError(
            f"a grid of {_sides(grid)} tokens does not fit positions baked for {_sides(baked)}: "
            "resize the image, or use the model without bake_positions"
        )
    return table


def _sides(grid: tuple[int, ...]) -> str:
    return "×".join(map(str, grid))
