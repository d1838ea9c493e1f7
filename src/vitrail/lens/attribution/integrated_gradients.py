"""Integrated gradients: the change of the target from a baseline to the image, distributed to patches."""

import numpy as np
import torch
from torch import Tensor

from ...errors import VitrailError
from ...nn import VisionModel
from .gradients import Gradient, Grid, gradient_of, summed, token_grid
from .method import Method
from .passes import Map, Pixels, Targets, for_each, sum_to_cells


def integrated_gradients(
    model: VisionModel,
    pixels: Pixels,
    targets: Targets,
    *,
    steps: int = 32,
    baseline: float = 0.0,
    batch: int = 8,
    grid: Grid = None,
) -> Map:
    """Change of the target's score from a grey baseline to the image, distributed to patches; signed.

    (x - x₀) ∘ ∫ ∇y(x₀ + α (x - x₀)) dα, summed over each patch (Sundararajan et al., 2017, "Axiomatic attribution",
    equation 1). The sum of the map is y(x) - y(x₀), up to the error of the integral, which falls with `steps`.

    Args:
        steps: number of Gauss-Legendre points, each with a forward and a backward pass.
        baseline: x₀, in normalised units: 0 is the mean colour of the normalisation.
        batch: number of passes at once.
        grid: grid of the map; that of the tokens that the head reads by default.
    """
    gradient = gradient_of(model, targets)
    attribution = along_the_path(gradient, pixels, torch.full_like(pixels, baseline), steps=steps, batch=batch)
    return sum_to_cells(attribution.sum(dim=1), grid or token_grid(model, pixels))


def along_the_path(
    gradient: Gradient,
    pixels: Pixels,
    baseline: Pixels,
    *,
    steps: int,
    batch: int,
) -> Pixels:
    """(x - x₀) ∘ ∫ gradient(x₀ + α (x - x₀)) dα, by Gauss-Legendre quadrature."""
    if steps < 1:
        raise VitrailError(f"steps {steps} is too few: the integral needs at least 1")
    points, shares = (torch.from_numpy(values) for values in np.polynomial.legendre.leggauss(steps))
    places, shares = ((points + 1) / 2).to(pixels), (shares / 2).to(pixels)

    def part(image: Tensor, step: Tensor) -> Tensor:
        at = for_each(places[step], pixels)
        found = gradient(baseline[image] + at * (pixels[image] - baseline[image]), image)
        return found * for_each(shares[step], pixels)

    return (pixels - baseline) * summed(part, pixels, steps, batch)


METHOD = Method("Integrated gradients", integrated_gradients)
