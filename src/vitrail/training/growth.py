"""Small pictures first: most of what is learned early is coarse, and costs less to learn from fewer pixels.

Progressive resizing (Howard, 2018, fast.ai's DAWNBench entry; Tan & Le, 2021, "EfficientNetV2", section 4). The last
part of the run sees the full size, so that the weights and batch statistics that are kept belong to it.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..models.fields import ModelConfig
from ..nn import BaseVisionModel
from ..planning.stride import stride_of

SMALL_PART = 0.5
"""The part of the steps that sees small pictures."""


def small_size(model: BaseVisionModel[ModelConfig], image_size: tuple[int, int], part: float) -> tuple[int, int]:
    """About `part` of each side, rounded to a multiple of the model's stride; the full size where less is too little.

    Two strides are the least: a last stage of one cell has nothing to compare.
    """
    if part >= 1:
        return image_size
    height, width = (
        min(side, max(2 * step, round(side * part / step) * step))
        for side, step in zip(image_size, stride_of(model.config), strict=True)
    )
    return height, width


def shrink_batch(pixels: Float[Tensor, "B C H W"], size: tuple[int, int]) -> Float[Tensor, "B C H2 W2"]:
    """The batch at another size; at its own it stays as it is."""
    if tuple(pixels.shape[2:]) == size:
        return pixels
    return F.interpolate(pixels, size=size, mode="bilinear", antialias=True)
