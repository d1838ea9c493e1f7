"""Exact rewrite: mean and standard deviation of the preprocessing become part of the model."""

from dataclasses import dataclass

import torch
from torch import nn

from ..errors import VitrailError
from ..nn import (
    AsFloat,
    Centre,
    DualEncoder,
    Embedding,
    MaskedEmbedding,
    MotionStem,
    OfValues,
    PadToMultiple,
    PatchEmbed,
    Standardise,
    TubeletEmbed,
    ValuesFit,
    scale_and_shift,
)
from .base import Rewrite

_WAY_OUT = "leave fold_preprocess out"


@dataclass(frozen=True, slots=True)
class FoldPreprocess(Rewrite):
    """Let the model take the values of uint8 images, 0 to 255, in place of normalised pixels.

    Mean and deviation are folded into the filters of the patches. Where images are padded, or the first layer is
    another, a layer that normalises is put in front instead. `checkpoint.fold_preprocess` also changes the
    preprocessing of a checkpoint.
    """

    mean: tuple[float, ...]
    """Mean of each channel, on the scale where a uint8 image is 0 to 1."""
    std: tuple[float, ...]
    """Standard deviation of each channel."""
    centre: tuple[float, ...] = ()
    """What is subtracted from the values of each channel before the filters; () for nothing.

    Filters in bfloat16 or 8 bits make an error in proportion to the values, so that these are better around 0. Whole
    numbers up to 256 are exact in bfloat16.
    """

    def __call__(self, model: nn.Module) -> None:
        images = model.image if isinstance(model, DualEncoder) else model
        embed = dict(images.named_children()).get("embed")
        if embed is None:
            raise VitrailError(f"this model has no embedding of images: {_WAY_OUT}")
        patches = embed.patches if isinstance(embed, Embedding | MaskedEmbedding) else embed
        self._check(patches)
        first = _first_convolution(patches)
        axes, dtype = 3 if isinstance(first, nn.Conv3d) else 2, next(images.parameters()).dtype
        standardise = Standardise(self.mean, self.std, axes, dtype)
        if not isinstance(patches, PatchEmbed | TubeletEmbed):
            made = OfValues(standardise, patches)
            if patches is embed:
                images.add_module("embed", made)
            else:
                embed.add_module("patches", made)
        elif isinstance(patches.fit, PadToMultiple):
            patches.fit = ValuesFit(standardise, patches.fit)
        elif not isinstance(patches.fit, ValuesFit):
            self._fold(patches.project)
            before = Centre(self.centre, axes, dtype) if any(self.centre) else AsFloat()
            patches.fit = ValuesFit(before, patches.fit)

    def _check(self, patches: nn.Module) -> None:
        if any(isinstance(part, OfValues | ValuesFit) for part in patches.modules()):
            raise VitrailError(f"this model takes the values of images already: {_WAY_OUT}")
        first = _first_convolution(patches)
        channels = len(self.mean) if first is None else first.in_channels
        if isinstance(patches, MotionStem):
            channels //= 2  # beside each channel its difference from the mean over the clip
        if self.centre and len(self.centre) != channels:
            raise VitrailError(
                f"fold_preprocess has centre {self.centre} for a model of {channels} channels: give one number for "
                "each channel, or none"
            )
        if not len(self.mean) == len(self.std) == channels:
            raise VitrailError(
                f"fold_preprocess has mean {self.mean} and std {self.std} for a model of {channels} channels: give one "
                "number for each channel"
            )

    @torch.no_grad()
    def _fold(self, conv: nn.Conv2d | nn.Conv3d) -> None:
        """Change an unpadded convolution in place so that it takes values, less the centre."""
        weight = conv.weight
        mean = [m - c / 255 for m, c in zip(self.mean, self.centre or [0.0] * len(self.mean), strict=True)]
        scale, shift = (
            each.to(weight).view(1, -1, *[1] * (weight.ndim - 2)) for each in scale_and_shift(mean, self.std)
        )
        moved = (weight * shift).flatten(1).sum(1)
        conv.bias = nn.Parameter(moved if conv.bias is None else conv.bias + moved)
        conv.weight = nn.Parameter(weight * scale)


def _first_convolution(patches: nn.Module) -> nn.Conv2d | nn.Conv3d | None:
    kinds = nn.Conv2d | nn.Conv3d
    return next((part for part in patches.modules() if isinstance(part, kinds)), None)
