"""Position embeddings, resampled to any grid."""

from math import prod

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, fx, nn

from ..tokens import Tokens
from .resample import resample


class LearnedPositions(nn.Module):
    """One learned vector for each prefix token and each cell of the grid (Dosovitskiy et al., 2021, section 3.1).

    Adds them to the tokens. A grid other than the stored one gets the table resampled; one with more axes, the frames
    of a video in front, gets the same table in every frame.

    Args:
        grid: (H, W) of the stored table.
        dim: width D.
        prefix: how many leading rows belong to prefix tokens.
        mode, antialias, offset: how the table is resampled, see `resample_positions`.
    """

    def __init__(
        self,
        grid: tuple[int, ...],
        dim: int,
        *,
        prefix: int = 0,
        mode: str = "bicubic",
        antialias: bool = True,
        offset: float = 0.0,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.prefix = prefix
        self.mode = mode
        self.antialias = antialias
        self.offset = offset
        self.weight = nn.Parameter(torch.empty(1, prefix + prod(grid), dim))
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, tokens: Tokens) -> Tokens:
        return tokens.with_x(tokens.x + self.table(tokens.grid))

    def table(self, grid: tuple[int, ...]) -> Float[Tensor, "1 N D"]:
        """The positions of a grid of any shape, prefix rows first."""
        axes = len(self.grid)
        table = self.resampled(self.weight, self.grid, grid[-axes:])
        lead, rest = table[:, : self.prefix], table[:, self.prefix :]
        return torch.cat([lead, rest.repeat(1, _cells(grid[:-axes]), 1)], dim=1)

    def resampled(
        self, table: Float[Tensor, "1 M D"], old: tuple[int, ...], new: tuple[int, ...]
    ) -> Float[Tensor, "1 N D"]:
        """A table like this one's, from one grid to another, in this one's way."""
        return resample_positions(
            table, old, new, prefix=self.prefix, mode=self.mode, antialias=self.antialias, offset=self.offset
        )


class AxisPositions(nn.Module):
    """One learned vector for each place along one axis of the grid; prefix tokens get none.

    Rows and columns, one after the other, are the two-dimensional positions of Dosovitskiy et al. (2021, appendix
    D.4); frames are the time positions of Bertasius et al. (2021, "TimeSformer").

    Args:
        axis: of the grid: 0 for rows, 1 for columns; 0 for the frames of a video.
        length: how many places are stored; another number gets the table resampled.
        dim: width D.
        mode, antialias: how the table is resampled, see `resample_positions`.
    """

    def __init__(self, axis: int, length: int, dim: int, *, mode: str = "bicubic", antialias: bool = True) -> None:
        super().__init__()
        self.axis = axis
        self.grid = (length,)
        self.mode = mode
        self.antialias = antialias
        self.weight = nn.Parameter(torch.empty(1, length, dim))
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, tokens: Tokens) -> Tokens:
        line = self.table((tokens.grid[self.axis],))
        before, after = _cells(tokens.grid[: self.axis]), _cells(tokens.grid[self.axis + 1 :])
        patches = line.repeat_interleave(after, dim=1).repeat(1, before, 1)
        return tokens.with_x(tokens.x + F.pad(patches, (0, 0, tokens.prefix, 0)))

    def table(self, grid: tuple[int, ...]) -> Float[Tensor, "1 N D"]:
        """The positions of an axis of any length, (N,)."""
        return self.resampled(self.weight, self.grid, grid)

    def resampled(
        self, table: Float[Tensor, "1 M D"], old: tuple[int, ...], new: tuple[int, ...]
    ) -> Float[Tensor, "1 N D"]:
        """A table like this one's, from one length to another, in this one's way."""
        return resample_positions(table, old, new, mode=self.mode, antialias=self.antialias)


class SinusoidalPositions(nn.Module):
    """Fixed positions along the sequence (Vaswani et al., 2017, section 3.5); for the prefix tokens none.

    Args:
        dim: width D.
        grid: of the table, resampled to others; the grid at hand where it is not given, so that nothing is resampled.
        mode, antialias: how the table is resampled, see `resample_positions`.
    """

    def __init__(
        self, dim: int, *, grid: tuple[int, ...] | None = None, mode: str = "bicubic", antialias: bool = True
    ) -> None:
        super().__init__()
        self.dim = dim
        self.grid = grid
        self.mode = mode
        self.antialias = antialias

    def forward(self, tokens: Tokens) -> Tokens:
        grid = self.grid or tokens.grid
        table = sinusoidal_positions(_cells(grid), self.dim, device=tokens.x.device)
        table = resample_positions(table, grid, tokens.grid, mode=self.mode, antialias=self.antialias)
        return tokens.with_x(tokens.x + F.pad(table.to(tokens.x.dtype), (0, 0, tokens.prefix, 0)))


class SinCosPositions(nn.Module):
    """Fixed two-dimensional sine and cosine positions (Beyer et al., 2022, "Better plain ViT baselines", section 2).

    Computed for the grid at hand, so there is nothing to resample: a quarter of the channels each for
    sin(x), cos(x), sin(y) and cos(y).

    Args:
        dim: width D, a multiple of 4.
        temperature: the longest period over the shortest.
        inclusive: the longest period belongs to the last channel; otherwise (MAE) to the one behind it.
    """

    def __init__(self, dim: int, *, temperature: float = 10_000.0, inclusive: bool = True) -> None:
        super().__init__()
        if dim % 4:
            raise ValueError(f"embed_dim {dim} is not a multiple of 4, which sine-cosine positions need")
        self.dim = dim
        self.temperature = temperature
        self.inclusive = inclusive

    def forward(self, tokens: Tokens) -> Tokens:
        height, width = tokens.grid
        table = sincos_positions(
            height,
            width,
            self.dim,
            temperature=self.temperature,
            inclusive=self.inclusive,
            device=tokens.x.device,
        )
        return tokens.with_x(tokens.x + F.pad(table.to(tokens.x.dtype), (0, 0, tokens.prefix, 0)))


# torch.fx keeps calls of these whole, as it cannot follow what depends on the shapes of tensors.


@fx.wrap
def _cells(grid: tuple[int, ...]) -> int:
    return prod(grid)


@fx.wrap
def sinusoidal_positions(length: int, dim: int, *, device: torch.device | None = None) -> Float[Tensor, "1 N D"]:
    """sin(n / 10000^(2i / D)) and its cosine in turn, for each place n, float32."""
    even = torch.arange(0, dim, 2, device=device, dtype=torch.float64)
    angles = torch.arange(length, device=device, dtype=torch.float64).unsqueeze(1) / 10_000.0 ** (even / dim)
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :dim].float().unsqueeze(0)


@fx.wrap
def sincos_positions(
    height: int,
    width: int,
    dim: int,
    *,
    temperature: float = 10_000.0,
    inclusive: bool = True,
    device: torch.device | None = None,
) -> Float[Tensor, "1 N D"]:
    """Sine-cosine positions of an H×W grid, row by row, float32."""
    quarter = dim // 4
    steps = max(1, quarter - 1) if inclusive else quarter
    omega = temperature ** -(torch.arange(quarter, device=device, dtype=torch.float64) / steps)
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    x_angles, y_angles = x.reshape(-1, 1) * omega, y.reshape(-1, 1) * omega
    table = torch.cat([x_angles.sin(), x_angles.cos(), y_angles.sin(), y_angles.cos()], dim=1)
    return table.float().unsqueeze(0)


@fx.wrap
def resample_positions(
    table: Float[Tensor, "1 N D"],
    old: tuple[int, ...],
    new: tuple[int, ...],
    *,
    prefix: int = 0,
    mode: str = "bicubic",
    antialias: bool = True,
    offset: float = 0.0,
) -> Float[Tensor, "1 M D"]:
    """Resample a table of positions from one grid to another; the prefix rows stay as they are.

    Args:
        table: prefix rows, then the old grid row by row.
        old, new: the grids, both (N,), (H, W) or (T, H, W). Rows and columns are resampled together, then the frames.
        mode: "bicubic", "bilinear" or "nearest".
        antialias: low-pass before shrinking, as timm does; transformers and torchvision do not. Not for "nearest".
        offset: what DINOv2 adds to the new rows and columns where it computes the scale, 0.1 (Oquab et al., 2023, its
            code): a grid is then sampled a little nearer to its first corner.
    """
    if tuple(new) == tuple(old):
        return table
    if len(new) != len(old):
        raise ValueError(f"positions of a grid {old} cannot be resampled to {new}: the two have other axes")
    lead, rest = table[:, :prefix], table[:, prefix:]
    (was_deep, *was), (deep, rows, columns) = _with_frames(old), _with_frames(new)
    # In float32 whatever the model computes in, as timm and transformers do.
    planes = rest.float().transpose(1, 2).unflatten(2, (was_deep, *was)).flatten(1, 2)  # (1, D T, H, W)
    planes = resample(planes, (rows, columns), mode=mode, antialias=antialias, offset=offset)
    # Frames and places as rows and columns of one image: the columns keep their number, which leaves them alone.
    lines = planes.unflatten(1, (-1, was_deep)).flatten(3)
    lines = resample(lines, (deep, rows * columns), mode=mode, antialias=antialias)
    return torch.cat([lead, lines.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)


def _with_frames(grid: tuple[int, ...]) -> tuple[int, ...]:
    """(T, H, W) of a grid of one to three axes."""
    return (1,) * (3 - len(grid)) + tuple(grid)
