"""Positions: what tells a token where it stands, resampled to any grid."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .tokens import Tokens


class LearnedPositions(nn.Module):
    """One learned vector for each prefix token and each cell of the grid (Dosovitskiy et al., 2021, section 3.1).

    Adds them to the tokens. A grid other than the stored one gets the table resampled.

    Args:
        grid: (H, W) of the stored table.
        dim: width D.
        prefix: how many leading rows belong to prefix tokens.
        mode, antialias: how the table is resampled, see `resample_positions`.
    """

    def __init__(
        self,
        grid: tuple[int, int],
        dim: int,
        *,
        prefix: int = 0,
        mode: str = "bicubic",
        antialias: bool = True,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.prefix = prefix
        self.mode = mode
        self.antialias = antialias
        self.weight = nn.Parameter(torch.empty(1, prefix + grid[0] * grid[1], dim))
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, tokens: Tokens) -> Tokens:
        return tokens.with_x(tokens.x + self.table(tokens.grid))

    def table(self, grid: tuple[int, ...]) -> Float[Tensor, "1 N D"]:
        """The positions of a grid of any shape, prefix rows first."""
        return resample_positions(
            self.weight, self.grid, grid, prefix=self.prefix, mode=self.mode, antialias=self.antialias
        )


class SinCosPositions(nn.Module):
    """Fixed two-dimensional sine and cosine positions (Beyer et al., 2022, "Better plain ViT baselines", section 2).

    Computed for the grid at hand, so there is nothing to resample: a quarter of the channels each for
    sin(x), cos(x), sin(y) and cos(y).
    """

    def __init__(self, dim: int, *, temperature: float = 10_000.0) -> None:
        super().__init__()
        if dim % 4:
            raise ValueError(f"embed_dim {dim} is not a multiple of 4, which sine-cosine positions need")
        self.dim = dim
        self.temperature = temperature

    def forward(self, tokens: Tokens) -> Tokens:
        height, width = tokens.grid
        table = sincos_positions(height, width, self.dim, temperature=self.temperature, device=tokens.x.device)
        return tokens.with_x(tokens.x + table.to(tokens.x.dtype))


def sincos_positions(
    height: int, width: int, dim: int, *, temperature: float = 10_000.0, device: torch.device | None = None
) -> Float[Tensor, "1 N D"]:
    """Sine-cosine positions of an H×W grid, row by row, float32."""
    quarter = dim // 4
    omega = temperature ** -(torch.arange(quarter, device=device, dtype=torch.float64) / max(1, quarter - 1))
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    x_angles, y_angles = x.reshape(-1, 1) * omega, y.reshape(-1, 1) * omega
    table = torch.cat([x_angles.sin(), x_angles.cos(), y_angles.sin(), y_angles.cos()], dim=1)
    return table.float().unsqueeze(0)


def resample_positions(
    table: Float[Tensor, "1 N D"],
    old: tuple[int, ...],
    new: tuple[int, ...],
    *,
    prefix: int = 0,
    mode: str = "bicubic",
    antialias: bool = True,
) -> Float[Tensor, "1 M D"]:
    """Resample a table of positions from one grid to another; the prefix rows stay as they are.

    Args:
        table: prefix rows, then the old grid row by row.
        old, new: the grids, (H, W).
        mode: "bicubic" or "bilinear".
        antialias: low-pass before shrinking, as timm does; transformers and torchvision do not.
    """
    if tuple(new) == tuple(old):
        return table
    lead, rest = table[:, :prefix], table[:, prefix:]
    image = rest.transpose(1, 2).unflatten(2, old).float()
    image = F.interpolate(image, size=tuple(new), mode=mode, antialias=antialias, align_corners=False)
    return torch.cat([lead, image.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)
