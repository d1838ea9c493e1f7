"""Colour operations on images of any scale."""

from collections.abc import Callable

import torch
from jaxtyping import Shaped
from torch import Tensor

Transform = Callable[[Tensor], Tensor]


def in_unit_range(image: Shaped[Tensor, "*frames C H W"]) -> tuple[Shaped[Tensor, "*frames C H W"], float, float]:
    """An image or a clip for operations that cut floats to [0, 1], with the `low` and `span` of (result × span + low).

    uint8 images and floats in [0, 1], which 16-bit files are decoded to, are returned as they are, with 0 and 1. Others
    are brought into this range, from their own lowest to their highest value.
    """
    if image.dtype == torch.uint8:
        return image, 0.0, 1.0
    low, high = image.aminmax()
    if low >= 0 and high <= 1:
        return image, 0.0, 1.0
    span = (high - low).clamp(min=1e-12)
    return (image - low) / span, low.item(), span.item()


class UnitRange:
    """A transform that clips floats to [0, 1], applied to images of any values, see `in_unit_range`."""

    def __init__(self, transform: Transform) -> None:
        self.transform = transform

    def __call__(self, image: Tensor) -> Tensor:
        values, low, span = in_unit_range(image)
        changed = self.transform(values)
        return changed if values is image else changed * span + low
