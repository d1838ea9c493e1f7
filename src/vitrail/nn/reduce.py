"""Reductions of the grid: between the stages of a hierarchical model, and of keys and values."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, fx, nn

from .tokens import Tokens


class Reembed(nn.Module):
    """Apply a patch embedding to the map of the tokens: Tokens -> Tokens without a prefix.

    Args:
        embed: (B, D, H, W) -> Tokens, `OverlappingPatchEmbed` or any other embedding.
    """

    def __init__(self, embed: nn.Module) -> None:
        super().__init__()
        self.embed = embed

    def forward(self, tokens: Tokens) -> Tokens:
        return self.embed(tokens.map)


class StridedReduction(nn.Module):
    """One token for each `ratio` × `ratio` square, by a convolution (Wang et al., 2021, "PVT", equation 3).

    Tokens -> Tokens of the same width. Incomplete squares are left out, as in the published models.
    """

    def __init__(self, dim: int, ratio: int, *, norm_eps: float = 1e-5) -> None:
        super().__init__()
        self.ratio = ratio
        self.project = nn.Conv2d(dim, dim, ratio, stride=ratio)
        self.norm = nn.LayerNorm(dim, eps=norm_eps)

    def forward(self, tokens: Tokens) -> Tokens:
        fewer = Tokens.from_map(self.project(_reducible(tokens.map, self.ratio)))
        return fewer.with_x(self.norm(fewer.x))


class PooledReduction(nn.Module):
    """The means of `side` × `side` regions, for any grid (Wang et al., 2022, "PVT v2", section 3.1).

    Tokens -> Tokens of the same width. The cost of attention to them is linear in the size of the image.
    """

    def __init__(self, dim: int, side: int = 7, *, norm_eps: float = 1e-5) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(side)
        self.project = nn.Conv2d(dim, dim, 1)
        self.norm = nn.LayerNorm(dim, eps=norm_eps)
        self.activation = nn.GELU()

    def forward(self, tokens: Tokens) -> Tokens:
        fewer = Tokens.from_map(self.project(self.pool(tokens.map)))
        return fewer.with_x(self.activation(self.norm(fewer.x)))


class ConvMerging(nn.Module):
    """Layer norm, then a 2×2 convolution of stride 2 (Liu et al., 2022, "ConvNeXt", section 2.6). Tokens -> Tokens.

    The last row and column of an odd grid are left out, as in the published models.
    """

    def __init__(self, dim: int, out_dim: int, *, norm_eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=norm_eps)
        self.project = nn.Conv2d(dim, out_dim, 2, stride=2)

    def forward(self, tokens: Tokens) -> Tokens:
        return Tokens.from_map(self.project(_reducible(tokens.with_x(self.norm(tokens.x)).map, 2)))


class PatchMerging(nn.Module):
    """Merge 2×2 tokens to one (Liu et al., 2021, "Swin Transformer", section 3.1). Tokens -> Tokens.

    They are concatenated (4 D), normed and projected to `out_dim`; odd grids are padded with zeros.
    """

    def __init__(self, dim: int, out_dim: int, *, norm_eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim, eps=norm_eps)
        self.project = nn.Linear(4 * dim, out_dim, bias=False)

    def forward(self, tokens: Tokens) -> Tokens:
        joined = join_neighbours(tokens)
        return Tokens(self.project(self.norm(joined)).flatten(1, 2), grid=(joined.shape[1], joined.shape[2]))


class NormedPatchMerging(nn.Module):
    """`PatchMerging` with the norm after the projection (Liu et al., 2022, "Swin Transformer V2"). Tokens -> Tokens."""

    def __init__(self, dim: int, out_dim: int, *, norm_eps: float) -> None:
        super().__init__()
        self.project = nn.Linear(4 * dim, out_dim, bias=False)
        self.norm = nn.LayerNorm(out_dim, eps=norm_eps)

    def forward(self, tokens: Tokens) -> Tokens:
        joined = join_neighbours(tokens)
        return Tokens(self.norm(self.project(joined)).flatten(1, 2), grid=(joined.shape[1], joined.shape[2]))


@fx.wrap  # torch.fx cannot trace code that depends on shapes: calls are leaves of its graphs
def _reducible(image: Float[Tensor, "B D H W"], ratio: int) -> Float[Tensor, "B D H W"]:
    rows, columns = image.shape[2:]
    if min(rows, columns) < ratio:
        raise ValueError(
            f"a grid of {rows}×{columns} tokens cannot be reduced by {ratio}: use larger images, or fewer stages"
        )
    return image


def join_neighbours(tokens: Tokens) -> Float[Tensor, "B H W D4"]:
    """Concatenate the channels of each 2×2 cells, column by column; odd grids are padded with zeros."""
    rows, columns = tokens.grid
    image = F.pad(tokens.x.unflatten(1, tokens.grid), (0, 0, 0, columns % 2, 0, rows % 2))
    cells = image.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))  # (B, H, 2, W, 2, D)
    return cells.permute(0, 1, 3, 4, 2, 5).flatten(3)
