"""Progressive resizing: the first steps train on smaller images, which cost less.

Howard (2018), fast.ai's DAWNBench entry; Tan & Le (2021), "EfficientNetV2", section 4. The last part of the run uses
the full size, so that the final weights and batch statistics fit it.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..checkpoint.build import stride_of
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel

SMALL_PART = 0.5
"""The fraction of the steps that trains on small images."""


def small_size(model: BaseVisionModel[ModelConfig], image_size: tuple[int, int], part: float) -> tuple[int, int]:
    """About `part` of each side, rounded to a multiple of the model's stride; the full size if that is too small.

    A side is at least two strides: attention over a grid of one cell learns nothing.
    """
    if part >= 1:
        return image_size
    height, width = (
        min(side, max(2 * step, round(side * part / step) * step))
        for side, step in zip(image_size, stride_of(model.config), strict=True)
    )
    return height, width


def shrink_batch(pixels: Float[Tensor, "B *axes H W"], size: tuple[int, int]) -> Float[Tensor, "B *axes H2 W2"]:
    """Resize a batch of images, or of clips; unchanged if it has the size already."""
    if tuple(pixels.shape[-2:]) == size:
        return pixels
    images = pixels.flatten(1, -3)  # the frames of clips as channels
    return F.interpolate(images, size=size, mode="bilinear", antialias=True).view(*pixels.shape[:-2], *size)
