"""Check, crop or pad images and videos to multiples of the patch size."""

import math

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, fx, nn

Sides = tuple[int, ...]
"""(height, width), or (frames, height, width) of a video."""


class CheckMultiple(nn.Module):
    """Raise ValueError for pixels whose sides are not multiples of the patch size; otherwise the identity.

    Args:
        patch_size: (P_h, P_w), or (P_t, P_h, P_w) of a video.
    """

    def __init__(self, patch_size: Sides) -> None:
        super().__init__()
        self.patch_size = patch_size

    def forward(self, pixels: Float[Tensor, "B C *size"]) -> Float[Tensor, "B C *size"]:
        return _checked(pixels, self.patch_size)

    def grid(self, image_size: Sides) -> Sides:
        """Number of patches along each side."""
        return _whole_grid(image_size, self.patch_size)


class CropToMultiple(nn.Module):
    """Crop pixels after the last whole patch, on the right and at the bottom.

    Args:
        patch_size: (P_h, P_w).
    """

    def __init__(self, patch_size: tuple[int, int]) -> None:
        super().__init__()
        self.patch_size = patch_size

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H2 W2"]:
        return _cropped(pixels, self.patch_size)

    def grid(self, image_size: Sides) -> Sides:
        """Number of patches along each side."""
        height, width = image_size
        return _cropped_grid((height, width), self.patch_size)


class PadToMultiple(nn.Module):
    """Pad pixels with zeros to multiples of the patch size, on the right, at the bottom and after the last frame.

    Args:
        patch_size: (P_h, P_w), or (P_t, P_h, P_w) of a video.
    """

    def __init__(self, patch_size: Sides) -> None:
        super().__init__()
        self.patch_size = patch_size

    def forward(self, pixels: Float[Tensor, "B C *size"]) -> Float[Tensor, "B C *filled"]:
        return _padded(pixels, self.patch_size)

    def grid(self, image_size: Sides) -> Sides:
        """Number of patches along each side."""
        return tuple(math.ceil(side / patch) for side, patch in zip(image_size, self.patch_size, strict=True))


# torch.fx keeps calls of these whole, as it cannot follow what depends on the shapes of tensors.


@fx.wrap
def _checked(pixels: Tensor, patch_size: Sides) -> Tensor:
    _whole_grid(tuple(pixels.shape[2:]), patch_size)
    return pixels


@fx.wrap
def _cropped(pixels: Tensor, patch_size: tuple[int, int]) -> Tensor:
    rows, columns = _cropped_grid((pixels.shape[2], pixels.shape[3]), patch_size)
    return pixels[:, :, : rows * patch_size[0], : columns * patch_size[1]]


@fx.wrap
def _padded(pixels: Tensor, patch_size: Sides) -> Tensor:
    missing = [-side % patch for side, patch in zip(pixels.shape[2:], patch_size, strict=True)]
    return F.pad(pixels, [amount for side in reversed(missing) for amount in (0, side)])


def _whole_grid(image_size: Sides, patch_size: Sides) -> Sides:
    if len(image_size) != len(patch_size):
        raise ValueError(
            f"pixels with sides {_words(image_size)} do not fit patches {_words(patch_size)}: "
            "an image is (B, C, H, W), a video is (B, C, T, H, W)"
        )
    if any(side % patch for side, patch in zip(image_size, patch_size, strict=True)):
        raise ValueError(
            f"image {_words(image_size)} is not a multiple of patch {_words(patch_size)}: "
            "resize it, or build the model with pad=True"
        )
    return tuple(side // patch for side, patch in zip(image_size, patch_size, strict=True))


def _cropped_grid(image_size: tuple[int, int], patch_size: tuple[int, int]) -> tuple[int, int]:
    rows, columns = image_size[0] // patch_size[0], image_size[1] // patch_size[1]
    if not rows or not columns:
        (height, width), (down, right) = image_size, patch_size
        raise ValueError(f"image {height}×{width} is smaller than a patch {down}×{right}: give a larger one")
    return rows, columns


def _words(sides: Sides) -> str:
    return "×".join(map(str, sides))
