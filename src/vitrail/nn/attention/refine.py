"""Norms and rotary positions of queries and keys: (q, k, tokens) -> (q, k)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn

from ..tokens import Tokens

HeadVectors = Float[Tensor, "B h N d"]
KeyVectors = Float[Tensor, "B h M d"]


class QKNorm(nn.Module):
    """Norms on the channels of each head of queries and keys (Dehghani et al., 2023, "ViT-22B", section 2).

    Args:
        queries, keys: norms of width d.
    """

    def __init__(self, queries: nn.Module, keys: nn.Module) -> None:
        super().__init__()
        self.queries = queries
        self.keys = keys

    def forward(self, q: HeadVectors, k: KeyVectors, tokens: Tokens) -> tuple[HeadVectors, KeyVectors]:
        return self.queries(q), self.keys(k)


class RotaryPositions(nn.Module):
    """Rotate queries and keys by angles of the position of a patch (Siméoni et al., 2025, "DINOv3", section 3.2).

    After Su et al. (2021), "RoFormer", in two dimensions. The position is the centre of a patch, from -1 to 1 along
    each side of the image, so any grid works without resampling. Prefix tokens have no position and are not rotated. A
    token of several cells has their mean position.

    Args:
        head_dim: channels d of a head, a multiple of 4.
        base: the d / 4 periods are base ** (4 i / d), i = 0, 1, ...; the side of the image is 2.
    """

    def __init__(self, head_dim: int, *, base: float = 100.0) -> None:
        super().__init__()
        check_head_dim(head_dim)
        self.head_dim = head_dim
        self.base = base

    def forward(self, q: HeadVectors, k: KeyVectors, tokens: Tokens) -> tuple[HeadVectors, KeyVectors]:
        angles = at_tokens(self.angles(q, tokens.grid), tokens)
        cos, sin = angles.cos(), angles.sin()
        return turn(q, cos, sin, tokens.prefix), turn(k, cos, sin, tokens.prefix)

    def angles(self, like: Tensor, grid: tuple[int, ...]) -> Float[Tensor, "P half"]:
        """Angle of each patch and pair of channels, on the device of `like` and at least in its precision."""
        rows, columns = grid
        return _angles_like(like, (rows, columns), self.head_dim, self.base)


def at_tokens(angles: Float[Tensor, "*h cells half"], tokens: Tokens) -> Float[Tensor, "... half"]:
    """Angles of the patch tokens from those of the cells; a token of several cells has their mean position."""
    if tokens.cover is None:
        return angles
    return tokens.over_cells(angles if angles.ndim == 3 else angles[None])


def check_head_dim(head_dim: int) -> None:
    """Raise ValueError unless the channels of a head can be rotated by two axes."""
    if head_dim % 4:
        raise ValueError(
            f"rotary positions need heads of a multiple of 4 channels, not {head_dim}: choose num_heads so that "
            "embed_dim / num_heads is a multiple of 4"
        )


@fx.wrap  # torch.fx cannot trace code that depends on shapes: calls are leaves of its graphs
def _angles_like(q: Tensor, grid: tuple[int, int], head_dim: int, base: float) -> Float[Tensor, "P half"]:
    """Rotary angles on the device of `q`, in its precision or in float32 if that is higher."""
    return rotary_angles(grid, head_dim, base, q.device).to(torch.promote_types(q.dtype, torch.float32))


def rotary_angles(
    grid: tuple[int, int], head_dim: int, base: float, device: torch.device | None = None
) -> Float[Tensor, "P half"]:
    """Angle of each patch and pair of channels, float64: d / 4 by its row, then d / 4 by its column."""
    quarter = head_dim // 4
    periods = base ** (torch.arange(quarter, device=device, dtype=torch.float64) / quarter)
    centres = [(torch.arange(side, device=device, dtype=torch.float64) + 0.5) / side * 2 - 1 for side in grid]
    places = torch.stack(torch.meshgrid(*centres, indexing="ij"), dim=-1).flatten(0, 1)
    return (2 * math.pi * places[:, :, None] / periods).flatten(1)


def turn(x: HeadVectors, cos: Float[Tensor, "*B P half"], sin: Float[Tensor, "*B P half"], prefix: int) -> HeadVectors:
    """Rotate channel i against channel i + d / 2, for all tokens after the prefix; in the precision of the angles."""
    lead, patches = x[:, :, :prefix], x[:, :, prefix:]
    cos, sin = (table[..., : patches.shape[2], :] for table in (cos, sin))  # none, for queries of prefix tokens only
    first, second = patches.chunk(2, dim=-1)
    turned = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
    return torch.cat([lead, turned.to(x.dtype)], dim=2)
