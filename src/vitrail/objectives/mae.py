"""Masked autoencoding: pre-training without labels by reconstructing hidden patches."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..data.loader import Batch
from ..data.preprocess import Preprocess
from ..errors import VitrailError
from ..models.fields import ModelConfig, pair, shared_fields
from ..models.mae import MAEConfig
from ..models.vit import ViTConfig
from ..nn import BaseVisionModel, MaskedAutoencoder, Reconstruction
from ..nn.masking import patchify, unpatchify
from .decoder_options import decoder_fields, require_decoder
from .encoders import small_vit
from .objective import ONE_COLOUR, Labels, Loss, Moment, Objective, ObjectiveConfig, Trivial, require_fraction
from .reconstructions import MOST_DRAWN, reconstruction_section


class MaskedReconstruction(Objective):
    """Mean squared error of the pixels of hidden patches.

    He et al. (2022), "Masked autoencoders are scalable vision learners", section 3, "reconstruction target".

    Args:
        model: pixels -> `Reconstruction`.
        normalise: standardise every target patch to mean 0 and deviation 1, which gives better features.
    """

    model: MaskedAutoencoder[ModelConfig]

    def __init__(self, model: BaseVisionModel[ModelConfig], *, normalise: bool = True) -> None:
        super().__init__(model)
        assert isinstance(model.config, MAEConfig), type(model.config)
        self.patch_size = pair(model.config.patch_size)
        self.normalise = normalise

    def forward(self, batch: Batch, moment: Moment) -> Loss:
        return Loss(self.error(self.model(batch.pixels), batch.pixels))

    def error(self, output: Reconstruction, pixels: Float[Tensor, "B C H W"]) -> Float[Tensor, ""]:
        """Mean squared error over the hidden patches only."""
        errors = (output.patches - self.target(pixels)).square().mean(dim=-1)
        return (errors * output.mask).sum() / output.mask.sum()

    def target(self, pixels: Float[Tensor, "B C H W"]) -> Float[Tensor, "B N P"]:
        """Pixels of each patch, standardised if `normalise`."""
        target = patchify(pixels, self.patch_size)
        if not self.normalise:
            return target
        mean, deviation = _moments(target)
        return (target - mean) / deviation

    def trivial(self, batch: Batch) -> Trivial:
        """Zero for every pixel of a target: the mean of its patch if `normalise`, otherwise the mean colour."""
        answer = "predicting the mean of each patch" if self.normalise else ONE_COLOUR
        return Trivial(answer, self.target(batch.pixels).square().mean())

    @torch.no_grad()
    def report(self, batch: Batch, preprocess: Preprocess) -> list[str]:
        """A section with validation images, their visible patches and their reconstruction."""
        self.model.eval()
        pixels = batch.pixels[:MOST_DRAWN]
        seen, painted = self.images(self.model(pixels), pixels)
        columns = [("image", pixels), ("visible patches", seen), ("reconstruction", painted)]
        return [reconstruction_section(columns, preprocess)]

    def images(
        self, output: Reconstruction, pixels: Float[Tensor, "B C H W"]
    ) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B C H W"]]:
        """Pixels with the hidden patches set to 0 (the mean colour), and pixels with their reconstruction."""
        target, hidden = patchify(pixels, self.patch_size), output.mask.bool().unsqueeze(2)
        found = output.patches.to(target.dtype)
        if self.normalise:  # the decoder does not predict a patch's mean and deviation: the image's own are used
            mean, deviation = _moments(target)
            found = found * deviation + mean
        grid = (pixels.shape[2] // self.patch_size[0], pixels.shape[3] // self.patch_size[1])
        put: Callable[[Tensor], Tensor] = lambda patches: unpatchify(patches, grid, self.patch_size)  # noqa: E731
        return put(target.masked_fill(hidden, 0.0)), put(torch.where(hidden, found, target))


@dataclass(frozen=True, kw_only=True)
class MAEObjectiveConfig(ObjectiveConfig):
    """Hide most of the patches, and reconstruct their pixels with a small decoder (He et al., 2022, "MAE")."""

    name: ClassVar[str] = "mae"

    mask_ratio: float = 0.75
    """Fraction of the patches that is hidden."""
    normalise: bool = True
    """Standardise every target patch to mean 0 and deviation 1."""
    decoder_depth: int | None = None
    """Number of decoder blocks; None: a third of the encoder's, or that of a mae_* variant."""
    decoder_dim: int | None = None
    """Width of the decoder, a multiple of 32; None: two thirds of the encoder's, or that of a mae_* variant."""

    def __post_init__(self) -> None:
        require_fraction("mask_ratio", self.mask_ratio)
        require_decoder(self.decoder_dim, self.decoder_depth)

    def build(self, model: BaseVisionModel[ModelConfig], labels: Labels | None) -> MaskedReconstruction:
        return MaskedReconstruction(model, normalise=self.normalise)

    def model_config(self, config: ModelConfig) -> MAEConfig:
        """Config of a masked autoencoder with the encoder of the variant, which is a mae_* variant or a plain ViT."""
        if isinstance(config, ViTConfig):
            width = max(32, config.embed_dim * 2 // 3 // 32 * 32)
            found = shared_fields(config, MAEConfig)
            del found["task"]
            config = MAEConfig(**found, decoder_dim=width, decoder_depth=max(1, config.depth // 3))
            config = replace(config, decoder_heads=config.decoder_dim // 32)
        if not isinstance(config, MAEConfig):
            raise VitrailError(
                f"objective mae hides patches of a plain ViT, and {type(config).__name__.removesuffix('Config')} is "
                "not one: choose a vit_* or mae_* variant of `vitrail models`"
            )
        return replace(config, mask_ratio=self.mask_ratio, **decoder_fields(self.decoder_dim, self.decoder_depth))

    def default_model(self, side: int) -> tuple[str, dict[str, Any], int]:
        return small_vit(side)


def _moments(patches: Float[Tensor, "B N P"]) -> tuple[Float[Tensor, "B N 1"], Float[Tensor, "B N 1"]]:
    """Mean and standard deviation of each patch."""
    return patches.mean(dim=-1, keepdim=True), (patches.var(dim=-1, keepdim=True) + 1e-6).sqrt()
