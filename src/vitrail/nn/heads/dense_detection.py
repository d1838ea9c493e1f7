"""Dense detection: an object, or none, for each cell of a pyramid of maps."""

import math
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..embed.stem import ConvUnit
from ..tokens import Tokens
from .outputs import DenseDetections
from .reading import PATCHES

PRIOR = 0.01
"""Probability of an object at the start, so that the many empty cells do not dominate the first steps (Lin et al.,
2017, "Focal loss", section 4.1)."""


class FeaturePyramid(nn.Module):
    """Maps of several sizes from one map (Li et al., 2022, "ViTDet", section 3). Tokens -> tuple of (B, F, h, w).

    Args:
        dim: width D of the tokens.
        out_channels: channels F of the maps.
        resizes: (B, D, H, W) -> (B, C, h, w) of each level, the finest first.
        widths: C of each.
    """

    reads = PATCHES

    def __init__(self, dim: int, out_channels: int, resizes: Iterable[nn.Module], widths: Sequence[int]) -> None:
        super().__init__()
        self.resizes = nn.ModuleList(resizes)
        self.project = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, out_channels, 1, bias=False),
                nn.BatchNorm2d(out_channels),
                nn.ReLU(),
                ConvUnit(out_channels, out_channels, nn.ReLU),
            )
            for width in widths
        )

    def forward(self, tokens: Tokens) -> tuple[Float[Tensor, "B F _h _w"], ...]:
        image = tokens.map
        return tuple(project(resize(image)) for resize, project in zip(self.resizes, self.project, strict=True))


class DenseDetectionHead(nn.Module):
    """Classify each cell of each level, and predict the distances from its centre to the edges of its object's box.

    Tokens -> DenseDetections (Tian et al., 2019, "FCOS", section 3; without its centre-ness).

    Args:
        pyramid: Tokens -> tuple of (B, F, h, w).
        dim: channels F of the maps.
        num_classes: classes K.
    """

    hidden_parts = ("pyramid",)

    def __init__(self, pyramid: nn.Module, dim: int, num_classes: int) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.classify = nn.Conv2d(dim, num_classes, 3, padding=1)
        self.box = nn.Conv2d(dim, 4, 3, padding=1)
        nn.init.normal_(self.classify.weight, std=0.01)
        assert self.classify.bias is not None
        nn.init.constant_(self.classify.bias, math.log(PRIOR / (1 - PRIOR)))

    def forward(self, tokens: Tokens) -> DenseDetections:
        maps = self.pyramid(tokens)
        logits = torch.cat([self.classify(level).flatten(2) for level in maps], dim=2).mT
        found = [_boxes(F.softplus(_at_least_float32(self.box(level)))) for level in maps]
        boxes, points = (torch.cat(part, dim=1) for part in zip(*found, strict=True))
        return DenseDetections(logits, boxes, points)


def _at_least_float32(values: Tensor) -> Tensor:
    """Float32 if it is half precision: bfloat16 rounds coordinates near the middle of 128 pixels to half a pixel.

    By PyTorch's promotion of types, as torch.fx cannot trace a condition on the type.
    """
    return values * values.new_ones(1, dtype=torch.float32)


def _boxes(distances: Float[Tensor, "B 4 h w"]) -> tuple[Float[Tensor, "B Q 4"], Float[Tensor, "B Q 2"]]:
    """Boxes, and the centres of the cells, from distances to the left, top, right and bottom edge in cells."""
    rows, columns = distances.shape[2:]
    left, top, right, bottom = distances.flatten(2).unbind(1)
    # Every level's cells tile the image, whatever its size: halves are rounded up.
    y = torch.arange(rows, device=distances.device).repeat_interleave(columns).to(distances.dtype).add(0.5) / rows
    x = torch.arange(columns, device=distances.device).repeat(rows).to(distances.dtype).add(0.5) / columns
    sides = (left + right) / columns, (top + bottom) / rows
    centre = x + (right - left) / (2 * columns), y + (bottom - top) / (2 * rows)
    return torch.stack([*centre, *sides], dim=2), torch.stack([x, y], dim=1).expand(left.shape[0], -1, -1)
