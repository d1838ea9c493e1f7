"""A model whose output is its embedding: pixels -> one vector for each image."""

from typing import Any

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from .dual import DualEncoder
from .model import BaseVisionModel


class EmbeddingModel(nn.Module):
    """`embed_images` of a model as a module, for engines: (B, C, H, W) -> (B, D).

    Args:
        model: its modules and weights are shared; of a model of images and texts those of its image encoder.
    """

    def __init__(self, model: BaseVisionModel[Any, Any]) -> None:
        super().__init__()
        self.whole: BaseVisionModel[Any, Any] = model.image if isinstance(model, DualEncoder) else model

    def forward(self, pixels: Shaped[Tensor, "B C *size"]) -> Float[Tensor, "B D"]:
        return self.whole.embed_images(pixels)
