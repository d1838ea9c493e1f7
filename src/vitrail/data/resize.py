"""Resize with a centre crop in memory that is bounded by the image and the crop, for images of any aspect ratio."""

import math

import numpy as np
import torch
from jaxtyping import Shaped
from PIL import Image
from torch import Tensor

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
    image: Shaped[Tensor, "C H W"], least: tuple[int, int], crop: tuple[int, int], interpolation: str
) -> Shaped[Tensor, "C H2 W2"]:
    """Resize so that the image covers `least`, keeping the aspect ratio, and crop its centre.

    The crop of a very long image is computed from the pixels under it alone. It equals the crop of the whole resized
    image up to rounding.

    Args:
        least: smallest (height, width) of the resized image.
        crop: (height, width) of the centre crop, at most `least`.
        interpolation: "nearest", "bilinear" or "bicubic".
    """
    from torchvision.transforms.v2.functional import center_crop

    found = image.shape[1], image.shape[2]
    scale = max(side / length for side, length in zip(least, found, strict=True))
    size = [max(side, int(length * scale)) for side, length in zip(least, found, strict=True)]
    if size == list(found):
        return center_crop(image, list(crop))
    if math.prod(size) > _MOST_GROWTH * math.prod(least):
        # Rounded as torchvision's `center_crop` does.
        corner = [round((length - side) / 2) for length, side in zip(size, crop, strict=True)]
        return _cropped_first(image, (size[0], size[1]), (corner[0], corner[1]), crop, interpolation)
    return stretch_and_crop(image, (size[0], size[1]), crop, interpolation)


def stretch_and_crop(
    image: Shaped[Tensor, "C H W"], size: tuple[int, int], crop: tuple[int, int], interpolation: str
) -> Shaped[Tensor, "C H2 W2"]:
    """Resize to `size`, whatever the aspect ratio, and crop the centre.

    Args:
        size: (height, width) of the resized image.
        crop, interpolation: as in `resize_and_crop`.
    """
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import center_crop, resize

    if size == (image.shape[1], image.shape[2]):
        return center_crop(image, list(crop))
    parts = image.split(1) if image.numel() > _MOST_AT_ONCE else [image]
    mode = InterpolationMode(interpolation)
    done = [center_crop(resize(part, list(size), mode, antialias=True), list(crop)) for part in parts]
    return done[0] if len(done) == 1 else torch.cat(done)


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
