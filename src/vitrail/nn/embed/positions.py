"""Position embeddings, with resampling to other grids."""

from math import prod

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, fx, nn

from ..tokens import Tokens
from .resample import resample


class LearnedPositions(nn.Module):
    """One learned vector for each prefix token and each cell of the grid (Dosovitskiy et al., 2021, section 3.1).

    Adds them to the tokens. For another grid than the stored one the table is resampled; for videos (T, H, W) the same
    table is added in every frame.

    Args:
        grid: (H, W) of the stored table.
        dim: width D.
        prefix: number of leading rows, for prefix tokens.
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
        """Return the positions of a grid, prefix rows first."""
        axes = len(self.grid)
        table = self.resampled(self.weight, self.grid, grid[-axes:])
        lead, rest = table[:, : self.prefix], table[:, self.prefix :]
        return torch.cat([lead, rest.repeat(1, _cells(grid[:-axes]), 1)], dim=1)

    def resampled(
        self, table: Float[Tensor, "1 M D"], old: tuple[int, ...], new: tuple[int, ...]
    ) -> Float[Tensor, "1 N D"]:
        """Resample a table from one grid to another, with this module's options."""
        return resample_positions(
            table, old, new, prefix=self.prefix, mode=self.mode, antialias=self.antialias, offset=self.offset
        )


class AxisPositions(nn.Module):
    """One learned vector for each index along one axis of the grid; none for prefix tokens.

    Rows and columns, one after the other, are the two-dimensional positions of Dosovitskiy et al. (2021, appendix
    D.4); frames are the time positions of Bertasius et al. (2021, "TimeSformer").

    Args:
        axis: axis of the grid: 0 for rows, 1 for columns; 0 for the frames of a video.
        length: number of stored vectors; for another length the table is resampled.
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
        """Return the positions for an axis of length (N,)."""
        return self.resampled(self.weight, self.grid, grid)

    def resampled(
        self, table: Float[Tensor, "1 M D"], old: tuple[int, ...], new: tuple[int, ...]
    ) -> Float[Tensor, "1 N D"]:
        """Resample a table from one length to another, with this module's options."""
        return resample_positions(table, old, new, mode=self.mode, antialias=self.antialias)


class SinusoidalPositions(nn.Module):
    """Fixed positions along the sequence (Vaswani et al., 2017, section 3.5); none for prefix tokens.

    Args:
        dim: width D.
        grid: grid of the table, which is resampled to others; None: computed for the current grid.
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

    Computed for the current grid, so nothing is resampled. A quarter of the channels each is for
    sin(x), cos(x), sin(y) and cos(y).

    Args:
        dim: width D, a multiple of 4.
        temperature: ratio of the longest to the shortest period.
        inclusive: whether the last channel has the longest period; otherwise (MAE) it would be that of the next one.
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


# torch.fx cannot trace code that depends on shapes: calls of these functions are leaves of its graphs.


@fx.wrap
def _cells(grid: tuple[int, ...]) -> int:
    return prod(grid)


@fx.wrap
def sinusoidal_positions(length: int, dim: int, *, device: torch.device | None = None) -> Float[Tensor, "1 N D"]:
    """sin(n / 10000^(2i / D)) and its cosine, alternating over the channels, for each index n, float32."""
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
    """Resample a table of positions from one grid to another; prefix rows are unchanged.

    Args:
        table: prefix rows, then the old grid row by row.
        old, new: the grids, both (N,), (H, W) or (T, H, W). Rows and columns are resampled together, then the frames.
        mode: "bicubic", "bilinear" or "nearest".
        antialias: low-pass before shrinking, as in timm, but not in transformers and torchvision. Not for "nearest".
        offset: added to the new rows and columns when the scale is computed; 0.1 in DINOv2 (Oquab et al., 2023, code),
        so that the grid is sampled slightly nearer to its first corner.
    """
    if tuple(new) == tuple(old):
        return table
    if len(new) != len(old):
        raise ValueError(f"positions of a grid {old} cannot be resampled to {new}: they differ in the number of axes")
    lead, rest = table[:, :prefix], table[:, prefix:]
    (was_deep, *was), (deep, rows, columns) = _with_frames(old), _with_frames(new)
    # Always in float32, as in timm and transformers.
    planes = rest.float().transpose(1, 2).unflatten(2, (was_deep, *was)).flatten(1, 2)  # (1, D T, H, W)
    planes = resample(planes, (rows, columns), mode=mode, antialias=antialias, offset=offset)
    # Frames and cells as rows and columns of one image: the number of columns stays, so only frames are resampled.
    lines = planes.unflatten(1, (-1, was_deep)).flatten(3)
    lines = resample(lines, (deep, rows * columns), mode=mode, antialias=antialias)
    return torch.cat([lead, lines.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)


def _with_frames(grid: tuple[int, ...]) -> tuple[int, ...]:
    """Extend a grid of one to three axes to (T, H, W)."""
    return (1,) * (3 - len(grid)) + tuple(grid)
