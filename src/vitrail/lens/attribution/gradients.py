"""Gradients of the class with the pixels: for every model that can be differentiated."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import VitrailError
from ...nn import VisionModel
from .passes import Classes, Map, encoded, pixel_gradient, sum_to_cells

Grid = tuple[int, int] | None
Gradient = Callable[[Tensor, Tensor], Tensor]
"""(pixels (B, C, H, W), which of the pictures each is (B,)) -> ∂score/∂pixels."""


def integrated_gradients(
    model: VisionModel,
    pixels: Float[Tensor, "B C H W"],
    classes: Classes,
    *,
    steps: int = 32,
    baseline: float = 0.0,
    batch: int = 8,
    grid: Grid = None,
) -> Map:
    """The change of the class's logit on the way from grey to the picture, shared out to patches; signed.

    (x - x₀) ∘ ∫ ∇y(x₀ + α (x - x₀)) dα, summed over each patch (Sundararajan et al., 2017, "Axiomatic attribution",
    equation 1). The sum of the map is y(x) - y(x₀), up to the error of the integral, which falls with `steps`.

    Args:
        steps: points of Gauss and Legendre on the way, each a forward and a backward pass.
        baseline: x₀, in normalised units: 0 is the grey that preprocessing centres on.
        batch: how many passes are made at once.
        grid: (rows, columns) of the map; the grid of the tokens that the head reads by default.
    """
    gradient = _gradient_of(model, classes)
    attribution = along_the_path(gradient, pixels, torch.full_like(pixels, baseline), steps=steps, batch=batch)
    return sum_to_cells(attribution.sum(dim=1), grid or token_grid(model, pixels))


def along_the_path(
    gradient: Gradient,
    pixels: Float[Tensor, "B C H W"],
    baseline: Float[Tensor, "B C H W"],
    *,
    steps: int,
    batch: int,
) -> Float[Tensor, "B C H W"]:
    """(x - x₀) ∘ ∫ gradient(x₀ + α (x - x₀)) dα, by Gauss-Legendre quadrature."""
    if steps < 1:
        raise VitrailError(f"steps {steps} is none: the integral needs at least one point")
    points, shares = (torch.from_numpy(values) for values in np.polynomial.legendre.leggauss(steps))
    places, shares = ((points + 1) / 2).to(pixels), (shares / 2).to(pixels)

    def part(picture: Tensor, step: Tensor) -> Tensor:
        at = places[step][:, None, None, None]
        found = gradient(baseline[picture] + at * (pixels[picture] - baseline[picture]), picture)
        return found * shares[step][:, None, None, None]

    return (pixels - baseline) * _summed(part, pixels, steps, batch)


def input_times_gradient(
    model: VisionModel, pixels: Float[Tensor, "B C H W"], classes: Classes, *, grid: Grid = None
) -> Map:
    """pixels ∘ gradient, summed over each patch; signed. Integrated gradients with one step at the picture itself."""
    found = pixel_gradient(model, pixels, classes)
    return sum_to_cells((pixels * found).sum(dim=1), grid or token_grid(model, pixels))


def smooth_gradient(
    model: VisionModel,
    pixels: Float[Tensor, "B C H W"],
    classes: Classes,
    *,
    samples: int = 16,
    noise: float = 0.15,
    seed: int = 0,
    batch: int = 8,
    grid: Grid = None,
) -> Map:
    """How strongly the class answers to changes near the picture, |mean gradient| summed over each patch; not negative.

    SmoothGrad (Smilkov et al., 2017): the mean over pictures with normal noise added, the same noise for every picture.

    Args:
        samples: how many noisy pictures, each a forward and a backward pass.
        noise: its deviation, as a share of each picture's range.
        seed: of the noise.
        batch, grid: as in `integrated_gradients`.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(samples, *pixels.shape[1:], generator=generator).to(pixels)
    spread = noise * (pixels.amax(dim=(1, 2, 3)) - pixels.amin(dim=(1, 2, 3)))
    gradient = _gradient_of(model, classes)

    def part(picture: Tensor, sample: Tensor) -> Tensor:
        return gradient(pixels[picture] + spread[picture][:, None, None, None] * drawn[sample], picture)

    total = _summed(part, pixels, samples, batch)
    return sum_to_cells((total / samples).abs().sum(dim=1), grid or token_grid(model, pixels))


def token_grid(model: VisionModel, pixels: Float[Tensor, "B C H W"]) -> tuple[int, ...]:
    """(rows, columns) of the tokens that the head reads."""
    with torch.no_grad():
        return encoded(model, pixels[:1]).grid


def _summed(
    part: Callable[[Tensor, Tensor], Tensor], pixels: Float[Tensor, "B C H W"], count: int, batch: int
) -> Float[Tensor, "B C H W"]:
    """The sum over `count` parts of each picture, of (pictures (n,), numbers of parts (n,)) -> (n, C, H, W)."""
    total = torch.zeros_like(pixels)
    jobs = torch.cartesian_prod(torch.arange(len(pixels)), torch.arange(count)).to(pixels.device)
    for picture, number in (some.unbind(1) for some in jobs.split(batch)):
        total.index_add_(0, picture, part(picture, number))
    return total


def _gradient_of(model: VisionModel, classes: Classes) -> Gradient:
    return lambda pixels, picture: pixel_gradient(model, pixels, classes.to(picture.device)[picture])
