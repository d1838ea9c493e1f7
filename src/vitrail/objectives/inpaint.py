"""Inpainting: pre-training without labels by filling a hole in the image."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..data.loader import Batch
from ..data.preprocess import Preprocess
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel, VisionModel
from .encoders import EncoderObjectiveConfig, PixelDecoder, tiling_hybrid
from .objective import ONE_COLOUR, Labels, Loss, Moment, Objective, Trivial, require_fraction
from .reconstructions import MOST_DRAWN, hidden_part_section
from .rectangles import random_rectangles

_NARROWEST = 0.5
"""Smallest ratio of a hole's sides."""


class Inpainting(Objective):
    """Mean squared error of the pixels in a hole, which has the mean colour in the image that the model sees.

    Pathak et al. (2016), "Context encoders: feature learning by inpainting", section 3.2, "reconstruction loss",
    without the adversarial one. The pixels are predicted by a linear layer from the encoder's tokens.

    Args:
        model: an encoder without classes.
        area: fraction of the image that the hole covers.
    """

    model: VisionModel[ModelConfig]

    def __init__(self, model: BaseVisionModel[ModelConfig], *, area: float) -> None:
        super().__init__(model)
        self.area = area
        self.decode = PixelDecoder(model, "inpaint")

    def forward(self, batch: Batch, moment: Moment) -> Loss:
        pixels = batch.pixels
        hole = self.random_hole(pixels)
        return Loss(self.error(self.predict(pixels, hole), pixels, hole))

    def random_hole(self, pixels: Float[Tensor, "B C H W"]) -> Bool[Tensor, "B H W"]:
        """A rectangle in each image, true inside, whose sides differ by up to a factor of 2."""
        areas = torch.full((len(pixels),), self.area, device=pixels.device)
        return random_rectangles(areas, (pixels.shape[2], pixels.shape[3]), narrowest=_NARROWEST)

    def predict(self, pixels: Float[Tensor, "B C H W"], hole: Bool[Tensor, "B H W"]) -> Float[Tensor, "B C H W"]:
        """The image as it is predicted from what is outside of the hole; 0 is the mean colour of normalised pixels."""
        return self.decode(self.model.forward_features(pixels.masked_fill(hole.unsqueeze(1), 0.0)))

    def trivial(self, batch: Batch) -> Trivial:
        return Trivial(ONE_COLOUR, batch.pixels.square().mean())

    @staticmethod
    def error(
        found: Float[Tensor, "B C H W"], pixels: Float[Tensor, "B C H W"], hole: Bool[Tensor, "B H W"]
    ) -> Float[Tensor, ""]:
        """Mean squared error over the pixels in the hole."""
        inside = hole.unsqueeze(1).to(torch.float32)
        return ((found.float() - pixels).square() * inside).sum() / (inside.sum() * pixels.shape[1])

    @torch.no_grad()
    def report(self, batch: Batch, preprocess: Preprocess) -> list[str]:
        """A section with validation images, their visible part and their reconstruction."""
        self.eval()
        pixels = batch.pixels[:MOST_DRAWN]
        hole = self.random_hole(pixels)
        return [hidden_part_section(pixels, hole, self.predict(pixels, hole), preprocess)]


@dataclass(frozen=True, kw_only=True)
class InpaintConfig(EncoderObjectiveConfig):
    """Fill a rectangle with the mean colour, and predict its pixels (Pathak et al., 2016, "Context encoders")."""

    name: ClassVar[str] = "inpaint"

    area: float = 0.25
    """Fraction of the image that the rectangle covers."""

    def __post_init__(self) -> None:
        require_fraction("area", self.area)

    def build(self, model: BaseVisionModel[ModelConfig], labels: Labels | None) -> Inpainting:
        return Inpainting(model, area=self.area)

    def default_model(self, side: int) -> tuple[str, dict[str, Any], int] | None:
        return tiling_hybrid(side)
