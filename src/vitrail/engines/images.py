"""Images as a caller has them (Pillow, NumPy, torch) -> image tensors (C, H, W)."""

import numpy as np
import torch
from jaxtyping import Shaped
from PIL import Image
from torch import Tensor

from ..data.bands import RefusedError, fit_bands, scale_bands
from ..data.decode import from_pil
from ..errors import VitrailError

AnyImage = Tensor | np.ndarray | Image.Image
"""A Pillow image; an array (H, W) or (H, W, C); a tensor (C, H, W). Integers are scaled by their largest value."""


def image_tensor(image: AnyImage, channels: int) -> Shaped[Tensor, "C H W"]:
    """The image as uint8, or as float32 on a scale from 0 to 1, brought to `channels` as files are.

    Raises:
        VitrailError: another type or shape, values that are not finite, or channels that cannot be brought to that
            number.
    """
    try:
        match image:
            case Image.Image():
                return from_pil(image, channels)
            case Tensor():
                return fit_bands(_scaled(_from_tensor(image)), channels)
            case np.ndarray():
                return fit_bands(_scaled(_from_array(image)), channels)
    except RefusedError as reason:
        raise VitrailError(f"an image cannot be used: {reason}") from reason
    raise VitrailError(
        f"an image cannot be a {type(image).__name__}: give a Pillow image, an array (H, W, C) or a tensor (C, H, W)"
    )


def _from_tensor(image: Tensor) -> Tensor:
    if image.ndim != 3 or 0 in image.shape:
        raise VitrailError(f"an image tensor is (C, H, W), this one is {tuple(image.shape)}: give one image at a time")
    return image.detach().cpu()


def _from_array(image: np.ndarray) -> Tensor:
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise VitrailError(f"an image array is (H, W) or (H, W, C), this one is {image.shape}: give one at a time")
    channels_first = image[None] if image.ndim == 2 else np.moveaxis(image, 2, 0)
    return torch.from_numpy(np.ascontiguousarray(channels_first))


def _scaled(image: Tensor) -> Tensor:
    return image if image.dtype == torch.uint8 else scale_bands(image.numpy())
