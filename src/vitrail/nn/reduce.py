"""Fewer tokens, wider: what stands between the stages of a hierarchical model."""

import torch.nn.functional as F
from torch import nn

from .tokens import Tokens


class ConvMerging(nn.Module):
    """Layer norm, then a 2×2 convolution of stride 2 (Liu et al., 2022, "ConvNeXt", section 2.6). Tokens -> Tokens.

    The last row and column of an odd grid are left out, as in the published models.
    """

    def __init__(self, dim: int, out_dim: int, *, norm_eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=norm_eps)
        self.project = nn.Conv2d(dim, out_dim, 2, stride=2)

    def forward(self, tokens: Tokens) -> Tokens:
        rows, columns = tokens.grid
        if min(rows, columns) < 2:
            raise ValueError(f"a grid of {rows}×{columns} cannot be halved: use larger pictures, or fewer stages")
        return Tokens.from_map(self.project(tokens.with_x(self.norm(tokens.x)).map))


class PatchMerging(nn.Module):
    """Four neighbours become one token (Liu et al., 2021, "Swin Transformer", section 3.1). Tokens -> Tokens.

    Joined (4 D), normed, projected to `out_dim`; odd grids are filled up with zeros.
    """

    def __init__(self, dim: int, out_dim: int, *, norm_eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim, eps=norm_eps)
        self.project = nn.Linear(4 * dim, out_dim, bias=False)

    def forward(self, tokens: Tokens) -> Tokens:
        rows, columns = tokens.grid
        image = F.pad(tokens.x.unflatten(1, tokens.grid), (0, 0, 0, columns % 2, 0, rows % 2))
        cells = image.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))  # (B, H, 2, W, 2, D)
        joined = cells.permute(0, 1, 3, 4, 2, 5).flatten(3)
        return Tokens(self.project(self.norm(joined)).flatten(1, 2), grid=tuple(joined.shape[1:3]))
