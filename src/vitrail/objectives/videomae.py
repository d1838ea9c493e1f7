"""Masked autoencoding of videos: pre-training without labels by reconstructing hidden tubelets."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..data.loader import Batch
from ..data.preprocess import Preprocess
from ..errors import VitrailError
from ..models.fields import ModelConfig, cells, shared_fields
from ..models.videomae import VideoMAEConfig
from ..models.videomae_pretraining import VideoMAEPretrainingConfig
from ..nn import BaseVisionModel, Reconstruction, TubeAutoencoder
from ..nn.tubes import tubify, untubify
from .decoder_options import decoder_fields, require_decoder
from .objective import ONE_COLOUR, Labels, Loss, Moment, Objective, ObjectiveConfig, Trivial, require_fraction
from .reconstructions import MOST_DRAWN, reconstruction_section

_LEAST_DEVIATION = 1e-6
"""Added to the deviation of a tubelet, as in the published code."""


class TubeReconstruction(Objective):
    """Mean squared error of the pixels of hidden tubelets.

    Tong et al. (2022), "VideoMAE: masked autoencoders are data-efficient learners for self-supervised video
    pre-training", section 3.1.

    Args:
        model: pixels -> `Reconstruction`.
        normalise: standardise every channel of a target tubelet to mean 0 and deviation 1.
    """

    model: TubeAutoencoder[ModelConfig]

    def __init__(self, model: BaseVisionModel[ModelConfig], *, normalise: bool = True) -> None:
        super().__init__(model)
        assert isinstance(model.config, VideoMAEPretrainingConfig), type(model.config)
        self.tubelet_size = model.config.tubelet_size
        places = cells(model.config.image_size, model.config.patch_size)
        if not int(model.config.mask_ratio * places):
            raise VitrailError(
                f"objective.mask_ratio {model.config.mask_ratio} hides none of {places} patches: use larger images, or "
                "smaller patches"
            )
        self.normalise = normalise

    def forward(self, batch: Batch, moment: Moment) -> Loss:
        return Loss(self.error(self.model(batch.pixels), batch.pixels))

    def error(self, output: Reconstruction, pixels: Float[Tensor, "B C T H W"]) -> Float[Tensor, ""]:
        """Mean squared error over the hidden tubelets only."""
        errors = (output.patches - self.target(pixels)).square().mean(dim=-1)
        return (errors * output.mask).sum() / output.mask.sum()

    def target(self, pixels: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B N P"]:
        """Pixels of each tubelet, standardised if `normalise`."""
        target = tubify(pixels, self.tubelet_size)
        if self.normalise:
            mean, deviation = _moments(target)
            target = (target - mean) / deviation
        return target.flatten(2)

    def trivial(self, batch: Batch) -> Trivial:
        """Zero for every pixel of a target: the mean of its tubelet if `normalise`, otherwise the mean colour."""
        answer = "predicting the mean of each tubelet" if self.normalise else ONE_COLOUR
        return Trivial(answer, self.target(batch.pixels).square().mean())

    @torch.no_grad()
    def report(self, batch: Batch, preprocess: Preprocess) -> list[str]:
        """A section with frames of validation clips, their visible patches and their reconstruction."""
        self.model.eval()
        pixels = batch.pixels[:MOST_DRAWN]
        seen, painted = self.videos(self.model(pixels), pixels)
        columns = [("frames of a clip", pixels), ("visible patches", seen), ("reconstruction", painted)]
        return [reconstruction_section(columns, preprocess)]

    def videos(
        self, output: Reconstruction, pixels: Float[Tensor, "B C T H W"]
    ) -> tuple[Float[Tensor, "B C T H W"], Float[Tensor, "B C T H W"]]:
        """Pixels with the hidden tubelets set to 0 (the mean colour), and pixels with their reconstruction."""
        target, hidden = tubify(pixels, self.tubelet_size), output.mask.bool()[:, :, None, None]
        found = output.patches.to(target.dtype).unflatten(2, target.shape[2:])
        if self.normalise:  # the decoder does not predict a tubelet's mean and deviation: the video's own are used
            mean, deviation = _moments(target)
            found = found * deviation + mean
        sides = zip(pixels.shape[2:], self.tubelet_size, strict=True)
        frames, rows, columns = (side // part for side, part in sides)
        put: Callable[[Tensor], Tensor] = lambda tubelets: untubify(  # noqa: E731
            tubelets, (frames, rows, columns), self.tubelet_size
        )
        return put(target.masked_fill(hidden, 0.0)), put(torch.where(hidden, found, target))


@dataclass(frozen=True, kw_only=True)
class VideoMAEObjectiveConfig(ObjectiveConfig):
    """Hide most of a clip, the same places in all frames, and reconstruct it (Tong et al., 2022, "VideoMAE")."""

    name: ClassVar[str] = "videomae"
    clips: ClassVar[bool] = True

    mask_ratio: float = 0.9
    """Fraction of the places that is hidden in all frames."""
    normalise: bool = True
    """Standardise every channel of a target to mean 0 and deviation 1."""
    decoder_depth: int | None = None
    """Number of decoder blocks; None: 4, or that of a variant for pre-training."""
    decoder_dim: int | None = None
    """Width of the decoder, a multiple of 32; None: half of the encoder's, or that of a variant for pre-training."""

    def __post_init__(self) -> None:
        require_fraction("mask_ratio", self.mask_ratio)
        require_decoder(self.decoder_dim, self.decoder_depth)

    def build(self, model: BaseVisionModel[ModelConfig], labels: Labels | None) -> TubeReconstruction:
        return TubeReconstruction(model, normalise=self.normalise)

    def model_config(self, config: ModelConfig) -> VideoMAEPretrainingConfig:
        """Config of a tube autoencoder with the encoder of the variant, which is VideoMAE's."""
        if isinstance(config, VideoMAEConfig):
            width = max(32, config.embed_dim // 2 // 32 * 32)
            found = shared_fields(config, VideoMAEPretrainingConfig)
            del found["task"]
            config = VideoMAEPretrainingConfig(**found, decoder_dim=width, decoder_heads=width // 32)
        if not isinstance(config, VideoMAEPretrainingConfig):
            raise VitrailError(
                f"objective videomae hides tubelets of a ViT, and {type(config).__name__.removesuffix('Config')} is "
                "none: choose a videomae_* variant of `vitrail models`"
            )
        return replace(config, mask_ratio=self.mask_ratio, **decoder_fields(self.decoder_dim, self.decoder_depth))

    def default_model(self, side: int) -> tuple[str, dict[str, Any], int]:
        """A small encoder of 64 tubelets in each pair of frames."""
        size = 64 if side > 44 else 32
        overrides = {"patch_size": size // 8, "num_frames": 8, "embed_dim": 192, "depth": 6, "num_heads": 3}
        return "videomae_small_patch16_224_pretraining", {**overrides, "decoder_dim": 96, "decoder_depth": 2}, size


def _moments(tubelets: Float[Tensor, "B N P C"]) -> tuple[Float[Tensor, "B N 1 C"], Float[Tensor, "B N 1 C"]]:
    """Mean and standard deviation of each channel of each tubelet."""
    return tubelets.mean(dim=2, keepdim=True), tubelets.std(dim=2, keepdim=True) + _LEAST_DEVIATION
