"""Attention as pictures: arrays in, arrays out. A picture is uint8 (3, H, W)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from ..pages.image import colours, displayable, enlarge

LEAD = 24
"""Grey value of the lines between the panes."""


def overlay(
    picture: UInt8[Tensor, "3 H W"], values: Float[Tensor, "h w"], *, alpha: float = 0.6, smooth: bool = False
) -> UInt8[Tensor, "3 H W"]:
    """A map of the patches over the picture, as panes of coloured glass.

    Args:
        picture: what the patches were cut from.
        values: one number a patch, coloured from 0 to the highest.
        alpha: the share of colour, the rest is picture.
        smooth: bilinear between the patches' centres instead of panes: softer, and less honest.
    """
    size = (picture.shape[1], picture.shape[2])
    if smooth:
        spread = F.interpolate(values[None, None].cpu().float(), size, mode="bilinear", align_corners=False)[0, 0]
        heat = colours(spread).float()
    else:
        heat = F.interpolate(colours(values)[None].float(), size, mode="nearest-exact")[0]
    mixed = (picture.float() * (1 - alpha) + heat * alpha).round().to(torch.uint8)
    return mixed if smooth else visualize_patches(mixed, (values.shape[0], values.shape[1]))


def visualize_patches(image: Tensor, grid: tuple[int, int]) -> UInt8[Tensor, "3 H W"]:
    """The picture, at least 256 px wide and high, with lines where a grid (rows, columns) cuts it."""
    picture = enlarge(displayable(image)).clone()
    width = max(1, min(picture.shape[1:]) // 256)
    for dim, count in ((1, grid[0]), (2, grid[1])):
        length = picture.shape[dim]
        edges = [round(index * length / count) for index in range(1, count)]
        lines = [edge - width // 2 + step for edge in edges for step in range(width)]
        picture.index_fill_(dim, torch.tensor(lines, dtype=torch.long), LEAD)
    return picture


def visualize_attention_weights(
    picture: UInt8[Tensor, "3 H W"],
    maps: Sequence[Float[Tensor, "h rows columns"]],
    *,
    side: int = 96,
    gap: int = 4,
    alpha: float = 0.6,
) -> UInt8[Tensor, "3 H2 W2"]:
    """Every layer (a row, the first on top) and head (a column) over the picture, as panes of coloured glass.

    Args:
        picture: what the patches were cut from.
        maps: of each layer, one for each head, each coloured from 0 to its own highest: `looked_at`, or a patch's row.
        side: height of a small picture, in pixels.
        gap: between them, in the grey of the lines.
        alpha: the share of colour, the rest is picture.
    """
    size = (side, max(1, round(side * picture.shape[2] / picture.shape[1])))
    small = F.interpolate(picture[None].float(), size, mode="bilinear", antialias=True, align_corners=False)[0]
    down, right = size[0] + gap, size[1] + gap
    columns = max(len(heads) for heads in maps)
    sheet = torch.full((3, len(maps) * down - gap, columns * right - gap), LEAD, dtype=torch.uint8)
    for row, heads in enumerate(maps):
        for column, values in enumerate(heads):
            heat = F.interpolate(colours(values)[None].float(), size, mode="nearest-exact")[0]
            pane = (small * (1 - alpha) + heat * alpha).round().clamp(0, 255).to(torch.uint8)
            sheet[:, row * down :, column * right :][:, : size[0], : size[1]] = pane
    return sheet


def visualize_positions(similarity: Float[Tensor, "H W h w"], *, gap: int = 1) -> UInt8[Tensor, "3 H2 W2"]:
    """A map of each patch's likeness to all others, `position_similarity`, laid out as the patches are."""
    rows, columns, height, width = similarity.shape
    low, high = similarity.amin(), similarity.amax()
    tiles = colours((similarity - low).permute(0, 2, 1, 3).reshape(rows * height, columns * width) / (high - low))
    tiles = tiles.reshape(3, rows, height, columns, width)
    tiles = F.pad(tiles, (0, gap, 0, 0, 0, gap), value=LEAD)
    return enlarge(tiles.reshape(3, rows * (height + gap), columns * (width + gap))[:, :-gap, :-gap])


def visualize_features(components: Float[Tensor, "3 h w"]) -> UInt8[Tensor, "3 H W"]:
    """Three components of the features of each patch, `feature_pca`, as its colour."""
    return enlarge((components.clamp(0, 1) * 255).round().to(torch.uint8).cpu())
