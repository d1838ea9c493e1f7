"""What happens to a picture, or to a video, that the patches do not fill."""

import math

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Sides = tuple[int, ...]
"""(height, width), with frames in front for a video."""


class CheckMultiple(nn.Module):
    """Pass pixels whose sides are multiples of the patch's; refuse others."""

    def __init__(self, patch_size: Sides) -> None:
        super().__init__()
        self.patch_size = patch_size

    def forward(self, pixels: Float[Tensor, "B C *size"]) -> Float[Tensor, "B C *size"]:
        self.grid(tuple(pixels.shape[2:]))
        return pixels

    def grid(self, image_size: Sides) -> Sides:
        if len(image_size) != len(self.patch_size):
            raise ValueError(
                f"pixels with the sides {_words(image_size)} for patches {_words(self.patch_size)}: "
                "a picture is (B, C, H, W), a video is (B, C, T, H, W)"
            )
        if any(side % patch for side, patch in zip(image_size, self.patch_size, strict=True)):
            raise ValueError(
                f"image {_words(image_size)} is not a multiple of patch {_words(self.patch_size)}: "
                "resize it, or build the model with pad=True"
            )
        return tuple(side // patch for side, patch in zip(image_size, self.patch_size, strict=True))


class CropToMultiple(nn.Module):
    """Leave out what is beyond the last whole patch, on the right and at the bottom."""

    def __init__(self, patch_size: tuple[int, int]) -> None:
        super().__init__()
        self.patch_size = patch_size

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H2 W2"]:
        rows, columns = self.grid((pixels.shape[2], pixels.shape[3]))
        return pixels[:, :, : rows * self.patch_size[0], : columns * self.patch_size[1]]

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        rows, columns = image_size[0] // self.patch_size[0], image_size[1] // self.patch_size[1]
        if not rows or not columns:
            (height, width), (down, right) = image_size, self.patch_size
            raise ValueError(f"image {height}×{width} holds no whole patch {down}×{right}: give a larger one")
        return rows, columns


class PadToMultiple(nn.Module):
    """Fill pixels up with zeros, on the right, at the bottom and behind the last frame, to multiples of the patch's."""

    def __init__(self, patch_size: Sides) -> None:
        super().__init__()
        self.patch_size = patch_size

    def forward(self, pixels: Float[Tensor, "B C *size"]) -> Float[Tensor, "B C *filled"]:
        lacking = [-side % patch for side, patch in zip(pixels.shape[2:], self.patch_size, strict=True)]
        return F.pad(pixels, [amount for side in reversed(lacking) for amount in (0, side)])

    def grid(self, image_size: Sides) -> Sides:
        return tuple(math.ceil(side / patch) for side, patch in zip(image_size, self.patch_size, strict=True))


def _words(sides: Sides) -> str:
    return "×".join(map(str, sides))
