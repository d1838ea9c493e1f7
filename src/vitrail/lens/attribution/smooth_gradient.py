"""SmoothGrad: mean gradient of the target over noisy copies of the image."""

import torch
from jaxtyping import Float
from torch import Tensor

from ...nn import VisionModel
from .gradients import Grid, gradient_of, summed, token_grid
from .method import Method
from .passes import Map, Targets, sum_to_cells


def smooth_gradient(
    model: VisionModel,
    pixels: Float[Tensor, "B C H W"],
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
    spread = noise * (pixels.amax(dim=(1, 2, 3)) - pixels.amin(dim=(1, 2, 3)))
    gradient = gradient_of(model, targets)

    def part(image: Tensor, sample: Tensor) -> Tensor:
        return gradient(pixels[image] + spread[image][:, None, None, None] * drawn[sample], image)

    total = summed(part, pixels, samples, batch)
    return sum_to_cells((total / samples).abs().sum(dim=1), grid or token_grid(model, pixels))


METHOD = Method("SmoothGrad", smooth_gradient, signed=False)
