"""Deletion and insertion: probability of a class as patches are removed or added, the most important first."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...nn import joined

STEPS = 16
"""Number of points of a curve without its start."""

Pixels = Float[Tensor, "B C H W"]


def deletion(
    model: nn.Module, pixels: Pixels, classes: Int[Tensor, " B"], maps: Float[Tensor, "B rows columns"]
) -> Float[Tensor, " B"]:
    """Area under the probability of the class as patches are blurred, the highest of the map first; lower is better.

    Petsiuk et al. (2018), "RISE", section 4.2, with patches instead of pixels, which are replaced by those of the image
    `blurred`.
    """
    return _area(model, pixels, blurred(pixels), classes, maps)


def insertion(
    model: nn.Module, pixels: Pixels, classes: Int[Tensor, " B"], maps: Float[Tensor, "B rows columns"]
) -> Float[Tensor, " B"]:
    """Area under the probability of the class as patches appear on a blurred image; higher is better ("RISE")."""
    return _area(model, blurred(pixels), pixels, classes, maps)


def blurred(pixels: Pixels) -> Pixels:
    """Blur images, removing details smaller than a third of the image.

    Grey squares would add edges that are not in the training images; a blur keeps colours and brightness.
    """
    return F.interpolate(F.adaptive_avg_pool2d(pixels, 3), pixels.shape[2:], mode="bilinear", align_corners=False)


@torch.no_grad()
def _area(model: nn.Module, start: Pixels, end: Pixels, classes: Tensor, maps: Tensor) -> Tensor:
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(dim=1)  # the rank of each patch
    count = order.shape[1]
    curve = []
    for step in range(STEPS + 1):
        changed = (order < round(step * count / STEPS)).unflatten(1, maps.shape[1:])[:, None].to(start.dtype)
        mask = F.interpolate(changed, start.shape[2:], mode="nearest-exact")
        logits = joined(model(torch.where(mask.bool(), end, start)))
        curve.append(logits.float().softmax(dim=1).gather(1, classes[:, None])[:, 0])
    return torch.trapezoid(torch.stack(curve, dim=1), dx=1 / STEPS, dim=1)
