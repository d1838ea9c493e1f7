"""Converts Pillow images, NumPy arrays and tensors to image tensors, by the rules for files."""

import numpy as np
import torch
from jaxtyping import Shaped
from PIL import Image
from torch import Tensor

from .bands import RefusedError, channels_first, fit_bands, scale_bands
from .decode import BadImage, from_pil

ImageLike = Image.Image | np.ndarray | Tensor
"""A Pillow image; an array (H, W), (H, W, C) or (C, H, W); or a tensor (C, H, W) or (H, W)."""


def image_tensor(image: ImageLike, channels: int | None = None, *, name: str = "image") -> Shaped[Tensor, "C H W"]:
    """Convert an image in memory to a tensor (C, H, W), uint8 or float32.

    Args:
        image: a Pillow image (its EXIF orientation is applied), an array whose channel axis is the shorter of the first
            and the last, or a tensor whose channel axis is the first. Values follow their type, see
            `vitrail.data.decode`: uint16 is divided by 65535, wider integers and floats are unchanged.
        channels: number of channels to convert to, as in `vitrail.data.decode`; None: its own.
        name: name of the image in messages.

    Raises:
        BadImage: wrong shape or type, values that are not finite, or channels that cannot be converted.
    """
    try:
        if isinstance(image, Image.Image):
            return from_pil(image, channels)
        if isinstance(image, Tensor):
            return fit_bands(_bands(image), channels)
        if isinstance(image, np.ndarray):
            return fit_bands(scale_bands(channels_first(image)), channels)
    except RefusedError as error:
        raise BadImage(name, str(error)) from error
    raise BadImage(name, f"a {type(image).__name__}, but a Pillow image, an array or a tensor is needed")


def clip_tensor(clip: ImageLike, channels: int | None = None, *, name: str = "clip") -> Shaped[Tensor, "T C H W"]:
    """Convert a clip in memory to a tensor (T, C, H, W), uint8 or float32.

    Args:
        clip: an array (T, H, W, C) or (T, C, H, W), whose channel axis is the shorter of the second and the last, or a
            tensor (T, C, H, W). Values follow their type, see `vitrail.data.decode`.
        channels: number of channels to convert to, as in `vitrail.data.decode`; None: its own.
        name: name of the clip in messages.

    Raises:
        BadImage: wrong shape or type, values that are not finite, or channels that cannot be converted.
    """
    if not isinstance(clip, np.ndarray | Tensor) or clip.ndim != 4:
        what = f"{type(clip).__name__} of shape {tuple(clip.shape)}" if hasattr(clip, "shape") else type(clip).__name__
        raise BadImage(name, f"a {what}, but the model takes clips: an array (T, H, W, C) or a tensor (T, C, H, W)")
    if 0 in clip.shape:
        raise BadImage(name, f"no pixels: its shape is {tuple(clip.shape)}")
    if isinstance(clip, np.ndarray) and clip.shape[1] >= clip.shape[3]:
        clip = np.moveaxis(clip, 3, 1)
    try:
        frames = [_bands(frame) if isinstance(frame, Tensor) else scale_bands(frame) for frame in clip]
        return torch.stack([fit_bands(frame, channels) for frame in frames])
    except RefusedError as error:
        raise BadImage(name, str(error)) from error


def _bands(image: Tensor) -> Shaped[Tensor, "C H W"]:
    if image.ndim == 2:
        image = image[None]
    if image.ndim != 3:
        raise RefusedError(f"a tensor of shape {tuple(image.shape)}, but (C, H, W) or (H, W) is needed")
    if image.numel() == 0:
        raise RefusedError(f"no pixels: its shape is {tuple(image.shape)}")
    if image.dtype == torch.uint8:
        return image
    if not image.is_floating_point():
        return scale_bands(image.cpu().numpy())
    if not torch.isfinite(image).all():
        raise RefusedError("has values that are not finite (NaN or infinity)")
    return image.float()  # on its device, with its gradient
