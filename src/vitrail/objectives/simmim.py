"""SimMIM: pre-training without labels by predicting the pixels of hidden patches from a mask token."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..data.loader import Batch
from ..data.preprocess import Preprocess
from ..errors import VitrailError
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel, VisionModel, embed_hidden
from .encoders import EncoderObjectiveConfig, PixelDecoder, embedding_of, patches_of, small_vit
from .objective import ONE_COLOUR, Labels, Loss, Moment, Objective, Trivial, require_fraction
from .reconstructions import MOST_DRAWN, hidden_part_section


class MaskedPixels(Objective):
    """Mean absolute error of the pixels of hidden patches, which a linear layer predicts from the encoder's tokens.

    Xie et al. (2022), "SimMIM: a simple framework for masked image modeling", section 3.

    Args:
        model: an encoder with patches and without classes.
        mask_ratio: fraction of the image that is hidden.
        mask_size: side in pixels of the squares that are hidden as a whole; None: about a seventh of the image's side.
    """

    model: VisionModel[ModelConfig]

    def __init__(self, model: BaseVisionModel[ModelConfig], *, mask_ratio: float, mask_size: int | None) -> None:
        super().__init__(model)
        patches = patches_of(model, "simmim")
        if mask_size is not None and any(mask_size % side for side in patches.cell):
            raise VitrailError(
                f"objective.mask_size is {mask_size}: it needs to be a multiple of the patches of "
                f"{'×'.join(map(str, patches.cell))} pixels"
            )
        self.mask_ratio = mask_ratio
        self.mask_size = mask_size
        self.patch_size = patches.cell
        self.mask_token = nn.Parameter(torch.zeros(1, 1, patches.dim))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.decode = PixelDecoder(model, "simmim")

    def forward(self, batch: Batch, moment: Moment) -> Loss:
        pixels = batch.pixels
        mask = self.random_mask(pixels)
        return Loss(self.error(self.predict(pixels, mask), pixels, mask))

    def random_mask(self, pixels: Float[Tensor, "B C H W"]) -> Bool[Tensor, "B H W"]:
        """A random mask, true for the hidden pixels; the same number of squares is hidden in each image."""
        height, width = pixels.shape[2:]
        square = [self.mask_size or _usual(*each) for each in zip((height, width), self.patch_size, strict=True)]
        rows, columns = math.ceil(height / square[0]), math.ceil(width / square[1])
        hidden = math.ceil(self.mask_ratio * rows * columns)
        order = torch.rand(len(pixels), rows * columns, device=pixels.device).argsort(dim=1)
        mask = torch.zeros_like(order, dtype=torch.bool).scatter(1, order[:, :hidden], value=True)
        whole = mask.unflatten(1, (rows, columns)).repeat_interleave(square[0], 1).repeat_interleave(square[1], 2)
        return whole[:, :height, :width]

    def predict(self, pixels: Float[Tensor, "B C H W"], mask: Bool[Tensor, "B H W"]) -> Float[Tensor, "B C H W"]:
        """The image as it is predicted where `mask`, which covers whole patches, hides it."""
        rows, columns = self.patch_size
        patches = mask[:, ::rows, ::columns].flatten(1)
        tokens = embed_hidden(embedding_of(self.model), pixels, patches, self.mask_token)
        return self.decode(self.model.encoder(tokens))

    def trivial(self, batch: Batch) -> Trivial:
        return Trivial(ONE_COLOUR, batch.pixels.abs().mean())

    @staticmethod
    def error(
        found: Float[Tensor, "B C H W"], pixels: Float[Tensor, "B C H W"], mask: Bool[Tensor, "B H W"]
    ) -> Float[Tensor, ""]:
        """Mean absolute error over the hidden pixels."""
        hidden = mask.unsqueeze(1).to(torch.float32)
        return ((found.float() - pixels).abs() * hidden).sum() / (hidden.sum() * pixels.shape[1])

    @torch.no_grad()
    def report(self, batch: Batch, preprocess: Preprocess) -> list[str]:
        """A section with validation images, their visible part and their reconstruction."""
        self.eval()
        pixels = batch.pixels[:MOST_DRAWN]
        mask = self.random_mask(pixels)
        return [hidden_part_section(pixels, mask, self.predict(pixels, mask), preprocess)]


def _usual(side: int, patch: int) -> int:
    """A seventh of the image's side (32 of 224 pixels), in whole patches."""
    return max(1, round(side / 7 / patch)) * patch


@dataclass(frozen=True, kw_only=True)
class SimMIMConfig(EncoderObjectiveConfig):
    """Hide squares of the image behind a mask token, and predict their pixels linearly (Xie et al., 2022, "SimMIM")."""

    name: ClassVar[str] = "simmim"

    mask_ratio: float = 0.6
    """Fraction of the image that is hidden."""
    mask_size: int | None = None
    """Side of the hidden squares in pixels; None: about a seventh of the image's side, in whole patches."""

    def __post_init__(self) -> None:
        require_fraction("mask_ratio", self.mask_ratio)
        if self.mask_size is not None and not 1 <= self.mask_size <= 32_768:
            raise VitrailError(f"objective.mask_size is {self.mask_size}: it is a side in pixels, at least 1")

    def build(self, model: BaseVisionModel[ModelConfig], labels: Labels | None) -> MaskedPixels:
        return MaskedPixels(model, mask_ratio=self.mask_ratio, mask_size=self.mask_size)

    def default_model(self, side: int) -> tuple[str, dict[str, Any], int]:
        return small_vit(side)
