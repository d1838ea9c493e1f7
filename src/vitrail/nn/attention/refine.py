"""Norms and rotary positions of queries and keys: (q, k, tokens) -> (q, k)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn

from ..tokens import Tokens

HeadVectors = Float[Tensor, "B h N d"]


class QKNorm(nn.Module):
    """A norm on the channels of each head, of queries and of keys (Dehghani et al., 2023, "ViT-22B", section 2).

    Args:
        queries, keys: norms of width d.
    """

    def __init__(self, queries: nn.Module, keys: nn.Module) -> None:
        super().__init__()
        self.queries = queries
        self.keys = keys

    def forward(self, q: HeadVectors, k: HeadVectors, tokens: Tokens) -> tuple[HeadVectors, HeadVectors]:
        return self.queries(q), self.keys(k)


class RotaryPositions(nn.Module):
    """Rotate queries and keys by angles that encode the place of a patch (Siméoni et al., 2025, "DINOv3", section 3.2).

    After Su et al. (2021), "RoFormer", in two dimensions. A place is the centre of a patch, from -1 to 1 along each
    side of the image, so any grid works and nothing is resampled. Prefix tokens have no place and stay as they are.

    Args:
        head_dim: channels d of a head, a multiple of 4.
        base: between the shortest period, 1, and the next beyond the longest: of d / 4 periods in geometric steps.
    """

    def __init__(self, head_dim: int, *, base: float = 100.0) -> None:
        super().__init__()
        if head_dim % 4:
            raise ValueError(
                f"heads of {head_dim} channels cannot turn by rows and columns: choose num_heads so that "
                "embed_dim / num_heads is a multiple of 4"
            )
        self.head_dim = head_dim
        self.base = base

    def forward(self, q: HeadVectors, k: HeadVectors, tokens: Tokens) -> tuple[HeadVectors, HeadVectors]:
        rows, columns = tokens.grid
        angles = _angles_like(q, (rows, columns), self.head_dim, self.base)
        cos, sin = angles.cos(), angles.sin()
        return turn(q, cos, sin, tokens.prefix), turn(k, cos, sin, tokens.prefix)


@fx.wrap  # torch.fx keeps its calls whole, as it cannot follow what depends on the shapes of tensors
def _angles_like(q: Tensor, grid: tuple[int, int], head_dim: int, base: float) -> Float[Tensor, "P half"]:
    """Rotary angles on the device of `q`, in its precision or in float32 if that is higher."""
    return rotary_angles(grid, head_dim, base, q.device).to(torch.promote_types(q.dtype, torch.float32))


def rotary_angles(
    grid: tuple[int, int], head_dim: int, base: float, device: torch.device | None = None
) -> Float[Tensor, "P half"]:
    """The angle of each patch and pair of channels, float64: d / 4 by its row, then d / 4 by its column."""
    quarter = head_dim // 4
    periods = base ** (torch.arange(quarter, device=device, dtype=torch.float64) / quarter)
    centres = [(torch.arange(side, device=device, dtype=torch.float64) + 0.5) / side * 2 - 1 for side in grid]
    places = torch.stack(torch.meshgrid(*centres, indexing="ij"), dim=-1).flatten(0, 1)
    return (2 * math.pi * places[:, :, None] / periods).flatten(1)


def turn(x: HeadVectors, cos: Float[Tensor, "P half"], sin: Float[Tensor, "P half"], prefix: int) -> HeadVectors:
    """Rotate channel i against channel i + d / 2, for all tokens behind the prefix; in the precision of the angles."""
    lead, patches = x[:, :, :prefix], x[:, :, prefix:]
    first, second = patches.chunk(2, dim=-1)
    turned = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
    return torch.cat([lead, turned.to(x.dtype)], dim=2)
