"""Resize with a centre crop in memory that is bounded by the image and the crop, for images of any aspect ratio.

The results are those of torchvision's functions of the same names, bit for bit. They are not called, because importing
torchvision takes about as long as importing torch, and every command that predicts would wait for it.
"""

import math

import numpy as np
import torch
from jaxtyping import Float, Shaped
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

_MOST_GROWTH = 8
"""A resized image with more times the pixels of its smallest useful size is not made: only its crop is."""
_MOST_AT_ONCE = 2**26
"""Images with more values are resized one channel at a time, as the resize of integers makes a float copy."""

_FILTERS = {
    "bilinear": (Image.Resampling.BILINEAR, 1.0),
    "bicubic": (Image.Resampling.BICUBIC, 2.0),
}
"""Pillow's filters, whose kernels torchvision's resize with antialiasing shares, and their support in pixels."""


def resize_and_crop(
    image: Shaped[Tensor, "*frames C H W"], least: tuple[int, int], crop: tuple[int, int], interpolation: str
) -> Shaped[Tensor, "*frames C H2 W2"]:
    """Resize so that an image, or every frame of a clip, covers `least`, keeping the aspect ratio, and crop its centre.

    The crop of a very long image is computed from the pixels under it alone. It equals the crop of the whole resized
    image up to rounding.

    Args:
        least: smallest (height, width) of the resized image.
        crop: (height, width) of the centre crop, at most `least`.
        interpolation: "nearest", "bilinear" or "bicubic".
    """
    found = image.shape[-2], image.shape[-1]
    scale = max(side / length for side, length in zip(least, found, strict=True))
    size = [max(side, int(length * scale)) for side, length in zip(least, found, strict=True)]
    if size == list(found):
        return center_crop(image, crop)
    if math.prod(size) > _MOST_GROWTH * math.prod(least):
        if image.ndim == 4:
            return torch.stack([resize_and_crop(frame, least, crop, interpolation) for frame in image])
        return _cropped_first(image, (size[0], size[1]), _corner((size[0], size[1]), crop), crop, interpolation)
    return stretch_and_crop(image, (size[0], size[1]), crop, interpolation)


def stretch_and_crop(
    image: Shaped[Tensor, "*frames C H W"], size: tuple[int, int], crop: tuple[int, int], interpolation: str
) -> Shaped[Tensor, "*frames C H2 W2"]:
    """Resize to `size`, whatever the aspect ratio, and crop the centre.

    Args:
        size: (height, width) of the resized image.
        crop, interpolation: as in `resize_and_crop`.
    """
    if size == (image.shape[-2], image.shape[-1]):
        return center_crop(image, crop)
    parts = image.split(1) if image.numel() > _MOST_AT_ONCE else [image]
    done = [center_crop(resize(part, size, interpolation), crop) for part in parts]
    return done[0] if len(done) == 1 else torch.cat(done)


def resize(
    image: Shaped[Tensor, "*frames C H W"], size: tuple[int, int], interpolation: str
) -> Shaped[Tensor, "*frames C H2 W2"]:
    """Resize to `size`, with antialiasing unless `interpolation` is "nearest"; integers are rounded.

    The layout is kept: channels last is faster.
    """
    if size == (image.shape[-2], image.shape[-1]):
        return image
    smooth = interpolation != "nearest"
    exact = (
        image.is_floating_point() or (image.dtype == torch.uint8 and not smooth) or _has_kernel(image, interpolation)
    )
    values, is_clip = image if exact else image.float(), image.ndim == 4
    source = values if is_clip else values[None]
    if not is_clip and source.is_contiguous(memory_format=torch.channels_last):
        # PyTorch takes a batch of one for contiguous, unless the stride of the batch is that of channels last.
        source = source.as_strided(source.shape, (image.numel(), *source.stride()[1:]))
    made = F.interpolate(
        source, list(size), mode=interpolation, align_corners=False if smooth else None, antialias=smooth
    )
    made = made if is_clip else made[0]
    if exact:
        return made
    limits = torch.iinfo(image.dtype)
    return made.clamp_(limits.min, limits.max).round_().to(image.dtype)


def _has_kernel(image: Tensor, interpolation: str) -> bool:
    """Whether PyTorch can resize such integers on this device."""
    if image.dtype != torch.uint8 or image.device.type != "cpu":
        return image.dtype == torch.uint8 and interpolation == "nearest"
    return interpolation != "bilinear" or torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


def center_crop(image: Shaped[Tensor, "*batch H W"], crop: tuple[int, int]) -> Shaped[Tensor, "*batch H2 W2"]:
    """The centre of an image, (height, width) at most its own."""
    top, left = _corner((image.shape[-2], image.shape[-1]), crop)
    return image[..., top : top + crop[0], left : left + crop[1]]


def _corner(size: tuple[int, int], crop: tuple[int, int]) -> tuple[int, int]:
    return round((size[0] - crop[0]) / 2), round((size[1] - crop[1]) / 2)


def to_float(image: Shaped[Tensor, "*batch C H W"]) -> Float[Tensor, "*batch C H W"]:
    """Convert uint8 to float32 in [0, 1]; other values keep their scale."""
    return image.float().mul_(1 / 255) if image.dtype == torch.uint8 else image.float()


def _cropped_first(
    image: Shaped[Tensor, "C H W"],
    size: tuple[int, int],
    corner: tuple[int, int],
    crop: tuple[int, int],
    interpolation: str,
) -> Shaped[Tensor, "C H2 W2"]:
    """Resize only what lies under the crop at `corner` of the image resized to `size`."""
    scales = [length / made for length, made in zip(image.shape[1:], size, strict=True)]
    if interpolation == "nearest":
        rows, columns = (
            (torch.arange(start, start + side) * scale).long().clamp(max=length - 1)
            for start, side, scale, length in zip(corner, crop, scales, image.shape[1:], strict=True)
        )
        return image[:, rows][:, :, columns]
    kernel, support = _FILTERS[interpolation]
    windows = [
        _window(start * scale, (start + side) * scale, support * max(scale, 1.0), length)
        for start, side, scale, length in zip(corner, crop, scales, image.shape[1:], strict=True)
    ]
    (top, bottom, y0, y1), (left, right, x0, x1) = windows
    parts = [
        np.asarray(
            # Floats, so that integers are rounded once, after both directions.
            Image.fromarray(channel.float().numpy()).resize(crop[::-1], kernel, box=(x0, y0, x1, y1))
        )
        for channel in image[:, top:bottom, left:right].detach().cpu()
    ]
    made = torch.from_numpy(np.stack(parts)).to(image.device)
    return made.round().clamp(0, 255).to(torch.uint8) if image.dtype == torch.uint8 else made


def _window(start: float, end: float, support: float, length: int) -> tuple[int, int, float, float]:
    """Whole pixels under a part of a side and the filter's support around it, and the part's place in them."""
    first = max(0, math.floor(start - support) - 1)
    last = min(length, math.ceil(end + support) + 1)
    return first, last, start - first, min(end, length) - first
