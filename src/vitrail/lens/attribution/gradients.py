"""Gradients of the target with respect to the pixels, shared by gradient-based methods."""

from collections.abc import Callable

import torch
from torch import Tensor

from ...nn import VisionModel
from .passes import Pixels, Targets, encoded, grid_of, pixel_gradient

Grid = tuple[int, ...] | None
Gradient = Callable[[Tensor, Tensor], Tensor]
"""Function (pixels (n, C, *size), index of the image of each (n,)) -> ∂score/∂pixels."""


def token_grid(model: VisionModel, pixels: Pixels) -> tuple[int, ...]:
    """Grid of the tokens that the head reads, see `grid_of`."""
    with torch.no_grad():
        return grid_of(encoded(model, pixels[:1]), pixels)


def summed(part: Callable[[Tensor, Tensor], Tensor], pixels: Pixels, count: int, batch: int) -> Pixels:
    """Sum a function (images (n,), parts (n,)) -> (n, C, *size) over `count` parts of each image."""
    total = torch.zeros_like(pixels)
    jobs = torch.cartesian_prod(torch.arange(len(pixels)), torch.arange(count)).to(pixels.device)
    for image, number in (some.unbind(1) for some in jobs.split(batch)):
        total.index_add_(0, image, part(image, number))
    return total


def gradient_of(model: VisionModel, targets: Targets) -> Gradient:
    return lambda pixels, image: pixel_gradient(model, pixels, targets.to(image.device)[image])
