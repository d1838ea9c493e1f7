"""Masked autoencoder of videos, whose hidden patches are hidden in every frame."""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, fx, nn

from .masking import Reconstruction
from .model import ComposedModel, ConfigT_co


class TubeAutoencoder(ComposedModel[ConfigT_co, Reconstruction]):
    """Encode the visible tubelets of a video and reconstruct the pixels of all (Tong et al., 2022, "VideoMAE", 3.2).

    The same cells of the grid are hidden in all frames ("tube masking"), so that a hidden patch cannot be copied from
    the frame before. The head is the decoder, see `PatchDecoder`. `forward_features` hides nothing.

    Args:
        mask_ratio: fraction of the cells that is hidden, in [0, 1).
    """

    def __init__(
        self, embed: nn.Module, encoder: nn.Module, head: nn.Module, config: ConfigT_co, *, mask_ratio: float
    ) -> None:
        super().__init__(embed, encoder, head, config)
        self.mask_ratio = mask_ratio

    def forward(
        self, pixels: Shaped[Tensor, "B C T H W"], noise: Float[Tensor, "B cells"] | None = None
    ) -> Reconstruction:
        """(B, C, T, H, W) -> all tubelets. Cells with the least `noise` are visible; it is random by default."""
        tokens = self.embed(pixels)
        if noise is None:
            noise = _noise(tokens.x, tokens.grid)
        hidden = hidden_tubes(noise, tokens.grid, self.mask_ratio)
        order = hidden.byte().argsort(dim=1, stable=True)
        patches = self.head(
            self.encoder(tokens.keep(visible(order, tokens.grid, self.mask_ratio))), order.argsort(dim=1), tokens.grid
        )
        return Reconstruction(patches, hidden.to(patches.dtype))

    if TYPE_CHECKING:

        def __call__(self, pixels: Tensor, noise: Tensor | None = None) -> Reconstruction: ...


# torch.fx cannot trace code that depends on shapes: calls of these functions are leaves of its graphs.


@fx.wrap
def _noise(x: Float[Tensor, "B N D"], grid: tuple[int, ...]) -> Float[Tensor, "B cells"]:
    return torch.rand(x.shape[0], grid[1] * grid[2], device=x.device)


def _visible_cells(grid: tuple[int, ...], mask_ratio: float) -> int:
    """Number of visible cells of a frame; the number of hidden ones is rounded down, as published."""
    cells = grid[1] * grid[2]
    return cells - int(mask_ratio * cells)


@fx.wrap
def hidden_tubes(noise: Float[Tensor, "B cells"], grid: tuple[int, int, int], mask_ratio: float) -> Bool[Tensor, "B N"]:
    """Which tubelets are hidden: those of the cells with the most noise, in every frame."""
    rank = noise.argsort(dim=1, stable=True).argsort(dim=1)
    return (rank >= _visible_cells(grid, mask_ratio)).repeat(1, grid[0])


@fx.wrap
def visible(order: Int[Tensor, "B N"], grid: tuple[int, int, int], mask_ratio: float) -> Int[Tensor, "B K"]:
    """The first indices of an order that begins with the visible tubelets."""
    return order[:, : grid[0] * _visible_cells(grid, mask_ratio)]


def tubify(pixels: Shaped[Tensor, "B C T H W"], tubelet_size: tuple[int, int, int]) -> Float[Tensor, "B N P C"]:
    """Split videos into tubelets; the pixels of a tubelet are ordered by frame, row and column."""
    deep, rows, columns = tubelet_size
    cells = pixels.unflatten(4, (-1, columns)).unflatten(3, (-1, rows)).unflatten(2, (-1, deep))
    # (B, C, T, P_t, H, P_h, W, P_w)
    return cells.permute(0, 2, 4, 6, 3, 5, 7, 1).flatten(4, 6).flatten(1, 3)


def untubify(
    tubelets: Float[Tensor, "B N P C"], grid: tuple[int, int, int], tubelet_size: tuple[int, int, int]
) -> Float[Tensor, "B C T H W"]:
    """Inverse of `tubify`."""
    cells = tubelets.unflatten(2, tubelet_size).unflatten(1, grid)  # (B, T, H, W, P_t, P_h, P_w, C)
    return cells.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)
