"""SmoothGrad: mean gradient of the target over noisy copies of the image."""

import torch
from torch import Tensor

from ...nn import VisionModel
from .gradients import Grid, gradient_of, summed, token_grid
from .method import Method
from .passes import Map, Pixels, Targets, for_each, sum_to_cells


def smooth_gradient(
    model: VisionModel,
    pixels: Pixels,
    targets: Targets,
    *,
    samples: int = 16,
    noise: float = 0.15,
    seed: int = 0,
    batch: int = 8,
    grid: Grid = None,
) -> Map:
    """Sensitivity of the target's score near the image, |mean gradient| summed over each patch; never negative.

    SmoothGrad (Smilkov et al., 2017): the mean over images with normal noise added, the same noise for every image.

    Args:
        samples: number of noisy images, each with a forward and a backward pass.
        noise: standard deviation of the noise, as a fraction of each image's range.
        seed: seed of the noise.
        batch, grid: as in `integrated_gradients`.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(samples, *pixels.shape[1:], generator=generator).to(pixels)
    flat = pixels.flatten(1)
    spread = noise * (flat.amax(dim=1) - flat.amin(dim=1))
    gradient = gradient_of(model, targets)

    def part(image: Tensor, sample: Tensor) -> Tensor:
        return gradient(pixels[image] + for_each(spread[image], pixels) * drawn[sample], image)

    total = summed(part, pixels, samples, batch)
    return sum_to_cells((total / samples).abs().sum(dim=1), grid or token_grid(model, pixels))


METHOD = Method("SmoothGrad", smooth_gradient, signed=False)
