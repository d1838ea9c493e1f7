"""Dual encoders: an image and a text encoder whose vectors are compared."""

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from .model import BaseVisionModel, ConfigT_co, VisionModel
from .tokens import Tokens


class TextModel(nn.Module):
    """Text encoder: embed, encoder, pool, project; ids (B, L) -> Tokens -> Tokens -> (B, D) -> (B, E)."""

    def __init__(self, embed: nn.Module, encoder: nn.Module, pool: nn.Module, project: nn.Module) -> None:
        super().__init__()
        self.embed = embed
        self.encoder = encoder
        self.pool = pool
        self.project = project

    def forward_features(self, ids: Int[Tensor, "B L"]) -> Tokens:
        """(B, L) -> Tokens, after the encoder's norm."""
        return self.encoder(self.embed(ids))

    def forward(self, ids: Int[Tensor, "B L"]) -> Float[Tensor, "B E"]:
        """(B, L) -> one vector for each text, not normalised."""
        return self.project(self.pool(self.forward_features(ids), ids))


class ScaledCosine(nn.Module):
    """exp(t) a · b of unit vectors, t learned (Radford et al., 2021, "CLIP", figure 3): (A, E), (B, E) -> (A, B)."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def forward(self, images: Float[Tensor, "A E"], texts: Float[Tensor, "B E"]) -> Float[Tensor, "A B"]:
        return self.log_scale.exp() * images @ texts.t()


class BiasedCosine(nn.Module):
    """exp(t) a · b + c of unit vectors with learned t and c (Zhai et al., 2023, "SigLIP", section 3.2).

    The sigmoid of a logit is the probability that image and text belong together.
    """

    def __init__(self, scale: float, bias: float) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, images: Float[Tensor, "A E"], texts: Float[Tensor, "B E"]) -> Float[Tensor, "A B"]:
        return self.log_scale.exp() * images @ texts.t() + self.bias


class DualEncoder(BaseVisionModel[ConfigT_co, Tensor]):
    """Images and texts in one space: pixels (A, C, H, W) and ids (B, L) -> logits (A, B).

    Args:
        image: pixels (A, C, H, W) -> (A, E).
        text: ids (B, L) -> (B, E).
        compare: unit vectors (A, E) and (B, E) -> (A, B).
        config: the frozen config that built the model.
    """

    def __init__(self, image: VisionModel, text: TextModel, compare: nn.Module, config: ConfigT_co) -> None:
        super().__init__(config)
        self.image = image
        self.text = text
        self.compare = compare

    def forward_features(self, pixels: Shaped[Tensor, "A C *size"]) -> Tokens:
        """Tokens of the image encoder, after its norm."""
        return self.image.forward_features(pixels)

    def encode_image(self, pixels: Shaped[Tensor, "A C H W"]) -> Float[Tensor, "A E"]:
        """Unit vectors of images."""
        return F.normalize(self.image(pixels), dim=-1)

    def embed_images(self, pixels: Shaped[Tensor, "A C *size"]) -> Float[Tensor, "A E"]:
        """One embedding for each image: its vector in the joint space, not normalised; see `encode_image`."""
        return self.image.embed_images(pixels)

    def encode_text(self, ids: Int[Tensor, "B L"]) -> Float[Tensor, "B E"]:
        """Unit vectors of texts."""
        return F.normalize(self.text(ids), dim=-1)

    def forward(self, pixels: Shaped[Tensor, "A C H W"], ids: Int[Tensor, "B L"]) -> Float[Tensor, "A B"]:
        """Logits of each pair of image and text."""
        return self.compare(self.encode_image(pixels), self.encode_text(ids))

    if TYPE_CHECKING:

        def __call__(self, pixels: Tensor, ids: Tensor) -> Tensor: ...
