"""SegFormer's segmentation head."""

from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..tokens import Tokens
from .reading import PATCHES


class AllMLPHead(nn.Module):
    """Segmentation head of linear layers (Xie et al., 2021, "SegFormer", section 3.2).

    All levels are projected to one width, upsampled to the finest grid, fused and classified. A tuple of Tokens, finest
    grid first, -> logits (B, num_classes, H, W) on the finest grid.

    Args:
        dims: widths of the levels.
        hidden_dim: common width of the projected levels.
        num_classes: number of classes; with 0 the features before the classifier are returned.
        dropout: rate of channel dropout before the classifier.
    """

    reads = PATCHES

    def __init__(self, dims: Sequence[int], hidden_dim: int, num_classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Linear(dim, hidden_dim) for dim in dims)
        self.fuse = nn.Conv2d(len(dims) * hidden_dim, hidden_dim, 1, bias=False)
        self.norm = nn.BatchNorm2d(hidden_dim)
        self.activation = nn.ReLU()
        self.dropout = nn.Dropout2d(dropout) if dropout else nn.Identity()
        self.classify = nn.Conv2d(hidden_dim, num_classes, 1) if num_classes else nn.Identity()

    def forward(self, levels: tuple[Tokens, ...]) -> Float[Tensor, "B K H W"]:
        # The paper upsamples the levels, concatenates and fuses them. Fusing is linear and the same for every cell, so
        # each level can be fused on its own grid and the results summed: the same result with a third of the work.
        filters = self.fuse.weight.flatten(1).chunk(len(levels), dim=1)  # published with the coarsest first
        fused = (
            resize_map(level.with_x(F.linear(project(level.x), filters[-1 - index])).map, levels[0].grid)
            for index, (level, project) in enumerate(zip(levels, self.project, strict=True))
        )
        return self.classify(self.dropout(self.activation(self.norm(reduce(torch.add, fused)))))


def resize_map(image: Float[Tensor, "B D H W"], grid: tuple[int, ...]) -> Float[Tensor, "B D H2 W2"]:
    """Resize a map to another grid, bilinearly, with cells positioned by their centres."""
    return F.interpolate(image, size=grid, mode="bilinear", align_corners=False)
