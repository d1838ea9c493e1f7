"""Fewer tokens, wider: what stands between the stages of a hierarchical model."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .tokens import Tokens


class PatchMerging(nn.Module):
    """Four neighbours become one token (Liu et al., 2021, "Swin Transformer", section 3.1). Tokens -> Tokens.

    Joined (4 D), normed, projected to `out_dim`; odd grids are filled up with zeros.
    """

    def __init__(self, dim: int, out_dim: int, *, norm_eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim, eps=norm_eps)
        self.project = nn.Linear(4 * dim, out_dim, bias=False)

    def forward(self, tokens: Tokens) -> Tokens:
        joined = join_neighbours(tokens)
        return Tokens(self.project(self.norm(joined)).flatten(1, 2), grid=tuple(joined.shape[1:3]))


class NormedPatchMerging(nn.Module):
    """`PatchMerging`, the norm behind the projection (Liu et al., 2022, "Swin Transformer V2"). Tokens -> Tokens."""

    def __init__(self, dim: int, out_dim: int, *, norm_eps: float) -> None:
        super().__init__()
        self.project = nn.Linear(4 * dim, out_dim, bias=False)
        self.norm = nn.LayerNorm(out_dim, eps=norm_eps)

    def forward(self, tokens: Tokens) -> Tokens:
        joined = join_neighbours(tokens)
        return Tokens(self.norm(self.project(joined)).flatten(1, 2), grid=tuple(joined.shape[1:3]))


def join_neighbours(tokens: Tokens) -> Float[Tensor, "B H W D4"]:
    """The channels of each 2×2 cells side by side, column by column; odd grids are filled up with zeros."""
    rows, columns = tokens.grid
    image = F.pad(tokens.x.unflatten(1, tokens.grid), (0, 0, 0, columns % 2, 0, rows % 2))
    cells = image.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))  # (B, H, 2, W, 2, D)
    return cells.permute(0, 1, 3, 4, 2, 5).flatten(3)
