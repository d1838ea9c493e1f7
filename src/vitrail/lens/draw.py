"""Draws attention, positions and features as images, uint8 (3, H, W)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor

from ..errors import VitrailError
from ..pages.image import colours, displayable, enlarge
from .attention_maps import looked_at
from .observe import Attention
from .rollout import class_token_map

LEAD = 24
"""Grey value of the lines between patches."""


def overlay(
    image: UInt8[Tensor, "3 H W"], values: Float[Tensor, "h w"], *, alpha: float = 0.6, smooth: bool = False
) -> UInt8[Tensor, "3 H W"]:
    """Return an image with a map of the patches as colours over it.

    Args:
        image: uint8 (3, H, W).
        values: one value for each patch, coloured from 0 to the maximum.
        alpha: opacity of the colours, 0 to 1.
        smooth: interpolate between the centres of patches, which suggests more detail than the map has.
    """
    size = (image.shape[1], image.shape[2])
    if smooth:
        spread = F.interpolate(values[None, None].cpu().float(), size, mode="bilinear", align_corners=False)[0, 0]
        heat = colours(spread).float()
    else:
        heat = F.interpolate(colours(values)[None].float(), size, mode="nearest-exact")[0]
    mixed = (image.float() * (1 - alpha) + heat * alpha).round().to(torch.uint8)
    return mixed if smooth else visualize_patches(mixed, (values.shape[0], values.shape[1]))


def visualize_patches(image: Tensor, grid: tuple[int, int]) -> UInt8[Tensor, "3 H W"]:
    """Return the image, enlarged to at least 256 px on each side, with the lines of a grid (rows, columns)."""
    drawn = enlarge(displayable(image)).clone()
    width = max(1, min(drawn.shape[1:]) // 256)
    for dim, count in ((1, grid[0]), (2, grid[1])):
        length = drawn.shape[dim]
        edges = [round(index * length / count) for index in range(1, count)]
        lines = [edge - width // 2 + step for edge in edges for step in range(width)]
        drawn.index_fill_(dim, torch.tensor(lines, dtype=torch.long), LEAD)
    return drawn


def visualize_tokens(image: Shaped[Tensor, "C H W"], cover: Int[Tensor, "rows columns"]) -> UInt8[Tensor, "3 H2 W2"]:
    """Return the image with the tokens of its cells: merged ones in one mean colour, removed ones dark.

    Lines are between cells of different tokens.

    Args:
        image: the image, resized and cropped like the model's pixels.
        cover: the token of each cell, as in `Tokens.cover` of one image.
    """
    drawn = enlarge(displayable(image)).float()
    size = (drawn.shape[1], drawn.shape[2])
    owner = F.interpolate(cover[None, None].double().cpu(), size, mode="nearest-exact")[0, 0].long()
    count = int(cover.max()) + 1
    there = owner >= 0
    number = owner.clamp(min=0).flatten()
    pixels = torch.zeros(count).index_add(0, number, there.flatten().float())
    total = torch.zeros(3, count).index_add(1, number, (drawn * there).flatten(1))
    mean = (total / pixels.clamp(min=1))[:, number].unflatten(1, size)
    merged = (torch.bincount(cover[cover >= 0].cpu(), minlength=count) > 1)[number].view(size) & there
    drawn = torch.where(merged, mean, drawn)
    drawn = torch.where(there, drawn, drawn * 0.2).round().to(torch.uint8)
    width = max(1, min(size) // 256)
    below = F.pad((owner[1:] != owner[:-1]).float(), (0, 0, 0, 1))
    beside = F.pad((owner[:, 1:] != owner[:, :-1]).float(), (0, 1))
    lines = F.max_pool2d(torch.maximum(below, beside)[None], width, stride=1, padding=width // 2)[
        0, : size[0], : size[1]
    ]
    return torch.where(lines > 0, LEAD, drawn)


def visualize_attention_weights(
    image: Shaped[Tensor, "C H W"], seen: Attention, *, index: int = 0, side: int = 96, gap: int = 4, alpha: float = 0.6
) -> UInt8[Tensor, "3 H2 W2"]:
    """Return attention maps over the image: a row for each layer, the first on top, and a column for each head.

    Each map is coloured from 0 to its own maximum. If all rows were observed, it is the result of `looked_at`: the rows
    of the tokens that the head reads. Otherwise it is the first observed row.

    Args:
        image: the image, resized and cropped like the model's pixels.
        seen: result of `observe_attention`, after a forward pass.
        index: index of the image in the batch.
        side: height of a small map, in pixels.
        gap: space between maps, in pixels.
        alpha: opacity of the colours, 0 to 1.

    Raises:
        VitrailError: a layer whose keys are not the patches of one regular grid.
    """
    maps = [attention_maps(seen, layer)[index] for layer in seen]
    shown = displayable(image)
    size = (side, max(1, round(side * shown.shape[2] / shown.shape[1])))
    small = F.interpolate(shown[None].float(), size, mode="bilinear", antialias=True, align_corners=False)[0]
    down, right = size[0] + gap, size[1] + gap
    columns = max(len(heads) for heads in maps)
    sheet = torch.full((3, len(maps) * down - gap, columns * right - gap), LEAD, dtype=torch.uint8)
    for row, heads in enumerate(maps):
        for column, values in enumerate(heads):
            heat = F.interpolate(colours(values)[None].float(), size, mode="nearest-exact")[0]
            pane = (small * (1 - alpha) + heat * alpha).round().clamp(0, 255).to(torch.uint8)
            sheet[:, row * down :, column * right :][:, : size[0], : size[1]] = pane
    return sheet


def attention_maps(seen: Attention, layer: int) -> Float[Tensor, "B h rows columns"]:
    """The maps of one observed layer, see `visualize_attention_weights`.

    Raises:
        VitrailError: its keys are not the patches of one regular grid.
    """
    layout = seen.layout(layer)
    if len(layout.key_grid) != 2:
        raise VitrailError(f"the keys of layer {layer} have the grid {layout.key_grid}: maps need rows and columns")
    if seen.all_rows:
        return looked_at(seen[layer], layout, seen.reads)
    return class_token_map(seen[layer][:, :, :1], layout.key_grid, layout.key_prefix, layout.key_cover)


def visualize_positions(similarity: Float[Tensor, "H W h w"], *, gap: int = 1) -> UInt8[Tensor, "3 H2 W2"]:
    """Return the `position_similarity` of each patch to all others as a small map at its position."""
    rows, columns, height, width = similarity.shape
    low, high = similarity.amin(), similarity.amax()
    tiles = colours((similarity - low).permute(0, 2, 1, 3).reshape(rows * height, columns * width) / (high - low))
    tiles = tiles.reshape(3, rows, height, columns, width)
    tiles = F.pad(tiles, (0, gap, 0, 0, 0, gap), value=LEAD)
    return enlarge(tiles.reshape(3, rows * (height + gap), columns * (width + gap))[:, :-gap, :-gap])


def visualize_features(components: Float[Tensor, "3 h w"]) -> UInt8[Tensor, "3 H W"]:
    """Return the first three principal components of each patch's features (`feature_pca`) as its colour."""
    return enlarge((components.clamp(0, 1) * 255).round().to(torch.uint8).cpu())
