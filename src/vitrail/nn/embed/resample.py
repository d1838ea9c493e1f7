"""Resampling of images and tables."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def resample(
    image: Float[Tensor, "B C h w"], size: tuple[int, int], *, mode: str, antialias: bool, offset: float = 0.0
) -> Float[Tensor, "B C H W"]:
    """Resize an image; `mode`, `antialias` and `offset` as in `resample_positions`."""
    if size[1] == 1 < size[0]:
        # PyTorch (2.15, CPU) low-passes rows wrongly if the output has a single column: transpose the image then.
        lying = resample(image.transpose(2, 3), (1, size[0]), mode=mode, antialias=antialias, offset=offset)
        return lying.transpose(2, 3)
    if not offset:
        return F.interpolate(image, size=size, mode=mode, antialias=antialias)
    scale = [(side + offset) / was for side, was in zip(size, image.shape[2:], strict=True)]
    return F.interpolate(image, scale_factor=scale, mode=mode, antialias=antialias)
