"""Operations on images for augmentation: (C, H, W), uint8 or float32 in [0, 1], -> the same type and shape.

They take 8-bit images and images with more bits alike: thresholds and colours are on the scale from 0 to 1.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Shaped
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf

from .randaugment_policy import MOST_LEVEL

Image = Shaped[Tensor, "C H W"]

_MATRIX = tuple[float, float, float, float, float, float]
"""(a, b, c, d, e, f) of an affine map in pixels: the output at (x, y) is the input at (ax + by + c, dx + ey + f)."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """What geometric operations need besides the image.

    Attributes:
        fill: colour of what comes from outside of the image, a number from 0 to 1 for each channel.
        interpolation: "bilinear", "bicubic" or "nearest".
    """

    fill: tuple[float, ...]
    interpolation: str = "bilinear"


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of RandAugment.

    Attributes:
        argument: (level, from 0 to 10, sign) -> argument of `apply`.
        apply: (image, argument, canvas) -> image.
        signed: whether the argument's sign is drawn: for the increasing variants, that of its distance from 1.
    """

    argument: Callable[[float, int], float]
    apply: Callable[[Image, float, Canvas], Image]
    signed: bool = False


def solarize(image: Image, threshold: float) -> Image:
    """Invert the values from a threshold on; for uint8 images it is `threshold` × 255."""
    if image.dtype == torch.uint8:
        lowest = round(threshold * 255)
        return image if lowest > 255 else torch.where(image >= lowest, 255 - image, image)
    return torch.where(image >= threshold - 1e-6, 1 - image, image)


def solarize_add(image: Image, addition: float, threshold: float = 128 / 255) -> Image:
    """Add a number to the values below a threshold, as in Google's RandAugment."""
    if image.dtype == torch.uint8:
        brighter = image.to(torch.int16).add_(round(addition * 255)).clamp_(max=255).to(torch.uint8)
        return torch.where(image < round(threshold * 255), brighter, image)
    return torch.where(image < threshold - 1e-6, (image + addition).clamp(max=1.0), image)


def posterize(image: Image, bits: int) -> Image:
    """Keep the highest `bits` of the 8 bits of each value; float images get the same levels."""
    if bits >= 8:
        return image
    step = 1 << (8 - bits)
    if image.dtype == torch.uint8:
        return image & (256 - step)
    return image.mul(255 / step).add_(1e-4).floor_().mul_(step / 255)


def grayscale(image: Image) -> Image:
    """The luminance in all three channels; an image of one channel is unchanged."""
    return image if image.shape[-3] == 1 else tvf.rgb_to_grayscale(image, num_output_channels=3)


def saturate(image: Image, factor: float) -> Image:
    """Blend with the luminance (factor 0) or away from it (above 1); an image of one channel is unchanged."""
    return image if image.shape[-3] == 1 else tvf.adjust_saturation(image, factor)


def gaussian_blur(image: Image, sigma: float) -> Image:
    """Blur with a Gaussian of this standard deviation in pixels, cut off at three deviations; edges are extended."""
    reach = max(1, math.ceil(3 * sigma))
    heights = [math.exp(-0.5 * (step / sigma) ** 2) for step in range(reach + 1)]
    weights = [height / (2 * sum(heights) - heights[0]) for height in heights]
    frames = image.float() if image.ndim == 4 else image.float()[None]
    padded = F.pad(frames, (reach,) * 4, mode="replicate")
    padded = padded if image.ndim == 4 else padded[0]
    blurred = _filtered(_filtered(padded, weights, -1), weights, -2)
    return blurred.round_().to(torch.uint8) if image.dtype == torch.uint8 else blurred


def sharpen(image: Image, factor: float) -> Image:
    """Blend with a smoothed image (factor 0) or away from it (above 1), as Pillow does; edges are unchanged."""
    if min(image.shape[1:]) <= 2:
        return image
    values, is_bytes = image.float(), image.dtype == torch.uint8
    inner = values[:, 1:-1, 1:-1]
    rows = values[:, :-2] + values[:, 1:-1] + values[:, 2:]
    smooth = (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]).add_(inner, alpha=4).div_(13)
    smooth = smooth.round_() if is_bytes else smooth
    changed = values.clone()
    changed[:, 1:-1, 1:-1] = smooth.lerp_(inner, factor).clamp_(0, 255 if is_bytes else 1)
    return changed.to(image.dtype)


def _filtered(
    image: Shaped[Tensor, "*frames C H W"], weights: Sequence[float], axis: int
) -> Shaped[Tensor, "*frames C H2 W2"]:
    """Apply a symmetric filter along an axis, without borders: sums of slices, which are faster than a convolution.

    Args:
        weights: of the middle, of its neighbours, and so on.
    """
    reach = len(weights) - 1
    length = image.shape[axis] - 2 * reach
    found = image.narrow(axis, reach, length) * weights[0]
    for step, weight in enumerate(weights[1:], start=1):
        found.add_(image.narrow(axis, reach - step, length), alpha=weight)
        found.add_(image.narrow(axis, reach + step, length), alpha=weight)
    return found


def affine(image: Image, matrix: _MATRIX, canvas: Canvas) -> Image:
    """Map an image as Pillow's `Image.transform` does: pixels from outside have the canvas's colour."""
    (a, b, c, d, e, f), (height, width) = matrix, image.shape[1:]
    x, y = torch.arange(width) + 0.5, torch.arange(height)[:, None] + 0.5
    columns, rows = a * x + b * y + c, d * x + e * y + f  # (H, W), in pixels of the input
    grid = torch.stack([columns * (2 / width) - 1, rows * (2 / height) - 1], dim=-1)
    values = image.float()
    found = F.grid_sample(
        values[None], grid[None], mode=canvas.interpolation, padding_mode="border", align_corners=False
    )[0]
    most = 255.0 if image.dtype == torch.uint8 else 1.0
    outside = (columns < 0) | (columns >= width) | (rows < 0) | (rows >= height)
    fill = torch.tensor(canvas.fill).mul_(most).view(-1, 1, 1)
    found = torch.where(outside, fill, found.clamp_(0, most))
    return found.round_().to(torch.uint8) if image.dtype == torch.uint8 else found


def rotation(degrees: float, height: int, width: int) -> _MATRIX:
    """Affine map of a rotation against the clock about the centre of the image."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = width / 2, height / 2
    return cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y


def _full(range_: float) -> Callable[[float, int], float]:
    """Level -> from 0 to `range_`, with a drawn sign."""
    return lambda level, sign: sign * level / MOST_LEVEL * range_


def _factor(level: float, sign: int) -> float:
    return level / MOST_LEVEL * 1.8 + 0.1


def _increasing_factor(level: float, sign: int) -> float:
    return max(0.1, 1.0 + sign * level / MOST_LEVEL * 0.9)


def _bits(level: float, sign: int) -> float:
    return int(level / MOST_LEVEL * 4)


def _threshold(level: float, sign: int) -> float:
    return min(256, int(level / MOST_LEVEL * 256)) / 255


def _nothing(level: float, sign: int) -> float:
    return 0.0


def _translate_x(image: Image, part: float, canvas: Canvas) -> Image:
    return affine(image, (1, 0, part * image.shape[2], 0, 1, 0), canvas)


def _translate_y(image: Image, part: float, canvas: Canvas) -> Image:
    return affine(image, (1, 0, 0, 0, 1, part * image.shape[1]), canvas)


def _rotate(image: Image, degrees: float, canvas: Canvas) -> Image:
    return affine(image, rotation(degrees, image.shape[1], image.shape[2]), canvas)


OPERATIONS: Mapping[str, Operation] = {
    "AutoContrast": Operation(_nothing, lambda image, _, canvas: tvf.autocontrast(image)),
    "Equalize": Operation(_nothing, lambda image, _, canvas: tvf.equalize(image)),
    "Invert": Operation(_nothing, lambda image, _, canvas: tvf.invert(image)),
    "Rotate": Operation(_full(30.0), _rotate, signed=True),
    "Posterize": Operation(_bits, lambda image, bits, canvas: posterize(image, int(bits))),
    "PosterizeIncreasing": Operation(
        lambda level, sign: 4 - _bits(level, sign), lambda image, bits, canvas: posterize(image, int(bits))
    ),
    "Solarize": Operation(_threshold, lambda image, threshold, canvas: solarize(image, threshold)),
    "SolarizeIncreasing": Operation(
        lambda level, sign: 256 / 255 - _threshold(level, sign),
        lambda image, threshold, canvas: solarize(image, threshold),
    ),
    "SolarizeAdd": Operation(
        lambda level, sign: min(128, int(level / MOST_LEVEL * 110)) / 255,
        lambda image, addition, canvas: solarize_add(image, addition),
    ),
    "Color": Operation(_factor, lambda image, factor, canvas: saturate(image, factor)),
    "ColorIncreasing": Operation(
        _increasing_factor, lambda image, factor, canvas: saturate(image, factor), signed=True
    ),
    "Contrast": Operation(_factor, lambda image, factor, canvas: tvf.adjust_contrast(image, factor)),
    "ContrastIncreasing": Operation(
        _increasing_factor, lambda image, factor, canvas: tvf.adjust_contrast(image, factor), signed=True
    ),
    "Brightness": Operation(_factor, lambda image, factor, canvas: tvf.adjust_brightness(image, factor)),
    "BrightnessIncreasing": Operation(
        _increasing_factor, lambda image, factor, canvas: tvf.adjust_brightness(image, factor), signed=True
    ),
    "Sharpness": Operation(_factor, lambda image, factor, canvas: sharpen(image, factor)),
    "SharpnessIncreasing": Operation(
        _increasing_factor, lambda image, factor, canvas: sharpen(image, factor), signed=True
    ),
    "ShearX": Operation(
        _full(0.3), lambda image, factor, canvas: affine(image, (1, factor, 0, 0, 1, 0), canvas), signed=True
    ),
    "ShearY": Operation(
        _full(0.3), lambda image, factor, canvas: affine(image, (1, 0, 0, factor, 1, 0), canvas), signed=True
    ),
    "TranslateXRel": Operation(_full(0.45), _translate_x, signed=True),
    "TranslateYRel": Operation(_full(0.45), _translate_y, signed=True),
}
"""timm's operations of RandAugment, with its ranges."""

_PLAIN = (
    *("AutoContrast", "Equalize", "Invert", "Rotate", "Posterize", "Solarize", "SolarizeAdd", "Color", "Contrast"),
    *("Brightness", "Sharpness", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel"),
)
_GROWING = ("Posterize", "Solarize", "Color", "Contrast", "Brightness", "Sharpness")


def operation_names(*, increasing: bool) -> Sequence[str]:
    """Names of the operations that RandAugment draws from."""
    return [f"{name}Increasing" if increasing and name in _GROWING else name for name in _PLAIN]
