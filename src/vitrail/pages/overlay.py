"""Pictures of labels with a place: maps of classes or numbers, and boxes, over an image, uint8 (3, H, W)."""

import colorsys
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .image import colours

_OPACITY = 0.6
_GOLDEN = 0.61803398875
"""Steps of the hue by the golden ratio: any first few classes have hues that are far apart."""
_SHADES = ((0.75, 0.95), (0.55, 0.75), (0.95, 0.6))
"""Saturation and brightness of one class after the other."""


def class_colours(count: int) -> UInt8[Tensor, "K 3"]:
    """A colour for each class; that of class 0, which is often the background, is the first."""
    found = [colorsys.hsv_to_rgb((0.58 + _GOLDEN * i) % 1, *_SHADES[i % len(_SHADES)]) for i in range(count)]
    return (torch.tensor(found).reshape(count, 3) * 255).round().to(torch.uint8)


def over_classes(image: UInt8[Tensor, "3 H W"], classes: Int[Tensor, "H W"], count: int) -> UInt8[Tensor, "3 H W"]:
    """An image under the colours of its classes; pixels with a negative class are as they are."""
    table = class_colours(count)
    painted = table[classes.clamp(min=0).long()].permute(2, 0, 1).float()
    mixed = _OPACITY * painted + (1 - _OPACITY) * image.float()
    return mixed.where(classes >= 0, image.float()).round().to(torch.uint8)


def number_map(values: Float[Tensor, "H W"], low: float, high: float) -> UInt8[Tensor, "3 H W"]:
    """Numbers as colours, dark for `low` to light for `high`; NaN is grey."""
    known = values.isfinite()
    scaled = ((values.nan_to_num(low, low, low) - low) / max(high - low, 1e-12)).clamp(0, 1)
    # The colours are relative to the largest value, which may be below `high`.
    corner = torch.cat([scaled.flatten(), torch.ones(1)])[None]
    painted = colours(corner)[:, 0, :-1].reshape(3, *values.shape)
    return painted.where(known, torch.tensor(128, dtype=torch.uint8))


def with_boxes(
    image: UInt8[Tensor, "3 H W"],
    boxes: Float[Tensor, "n 4"],
    classes: Int[Tensor, " n"],
    words: Sequence[str],
    count: int,
) -> UInt8[Tensor, "3 H W"]:
    """An image with boxes and a text for each, in the colours of `count` classes.

    Args:
        boxes: left, top, right and bottom edges, as fractions of the image's sides; the first are in front.
    """
    drawn = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    pen, font, table = ImageDraw.Draw(drawn), ImageFont.load_default(12), class_colours(count).tolist()
    sides = (drawn.width - 1, drawn.height - 1) * 2
    for box, kind, text in reversed(list(zip(boxes.tolist(), classes.tolist(), words, strict=True))):
        left, top, right, bottom = (round(edge * side) for edge, side in zip(box, sides, strict=True))
        colour = tuple(table[kind])
        pen.rectangle((left, top, right, bottom), outline=colour, width=2)
        place = (left + 3, top + 1)
        pen.rectangle(pen.textbbox(place, text, font=font), fill=colour)
        pen.text(place, text, fill=(0, 0, 0) if sum(colour) > 380 else (255, 255, 255), font=font)
    return torch.from_numpy(np.array(drawn)).permute(2, 0, 1)
