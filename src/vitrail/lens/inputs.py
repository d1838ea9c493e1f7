"""Inputs of functions that take a checkpoint with images, or a bare model with pixels."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ..checkpoint.contract import Checkpoint
from ..data.decode import BadImage
from ..errors import VitrailError
from ..pages.image import displayable
from .images import ImageLike, named_images
from .outputs import image_model
from .watched import watch


@dataclass(frozen=True, slots=True)
class ModelInputs:
    """A model with a batch of its pixels.

    Attributes:
        pixels: (B, C, H, W), or clips (B, C, T, H, W), normalised; of a checkpoint on the CPU, of a bare model on their
            own device.
        class_names: empty if unknown.
        images: uint8 (B, 3, H, W), the images resized and cropped as for the model; of clips four frames in two rows.
    """

    model: nn.Module
    pixels: Float[Tensor, "B C *size"]
    class_names: Sequence[str]
    images: UInt8[Tensor, "B 3 H W"]

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device


def model_inputs(
    model: nn.Module | Checkpoint | str | os.PathLike[str],
    images: Tensor | ImageLike | Iterable[ImageLike],
    device: str = "auto",
) -> ModelInputs:
    """Return a checkpoint's model with preprocessed images, or a bare model with the given pixels.

    Args:
        model: a checkpoint, what `load` takes, or a module.
        images: for a checkpoint one `ImageLike`, several, or a batch (B, C, H, W) of images that are not normalised,
            for one of clips (B, T, C, H, W); for a module a floating-point tensor (B, C, H, W) or (C, H, W), or
            (B, C, T, H, W), normalised.
        device: device of a checkpoint.

    Raises:
        VitrailError: an image that cannot be read, no image, or a module with anything but normalised pixels.
    """
    if isinstance(model, nn.Module):
        if not isinstance(images, Tensor) or not images.is_floating_point() or images.ndim not in (3, 4, 5):
            raise VitrailError(
                "a bare model takes normalised pixels, a floating-point tensor (B, C, H, W) or (B, C, T, H, W): for "
                "files and images give a checkpoint, such as vitrail.load(PATH), which has their preprocessing"
            )
        pixels = images[None] if images.ndim == 3 else images
        shown = [one.transpose(0, 1) for one in pixels] if pixels.ndim == 5 else list(pixels)
        return ModelInputs(image_model(model), pixels, (), torch.stack([displayable(one) for one in shown]))
    watched = watch(model, device=device)
    preprocess = watched.preprocess
    batch = 4 if preprocess.frames is None else 5
    items = list(images) if isinstance(images, Tensor) and images.ndim == batch else images
    fitted = []
    found, _ = named_images(
        items, preprocess.channels, then=preprocess.fit, least=preprocess.enough, frames=preprocess.frames
    )
    for _, image in found:
        if isinstance(image, BadImage):
            raise image
        fitted.append(image)
    if not fitted:
        raise VitrailError("there is no image: name a file, or give a Pillow image, an array or a tensor")
    pixels = torch.stack([preprocess.normalise(image) for image in fitted])
    return ModelInputs(watched.model, pixels, watched.class_names, torch.stack([displayable(one) for one in fitted]))
