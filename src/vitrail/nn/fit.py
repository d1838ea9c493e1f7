"""What happens to a picture that the patches do not fill."""

import math

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class CheckMultiple(nn.Module):
    """Pass pixels whose height and width are multiples of the patch; refuse others."""

    def __init__(self, patch_size: tuple[int, int]) -> None:
        super().__init__()
        self.patch_size = patch_size

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        self.grid((pixels.shape[2], pixels.shape[3]))
        return pixels

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        (height, width), (rows, columns) = image_size, self.patch_size
        if height % rows or width % columns:
            raise ValueError(
                f"image {height}×{width} is not a multiple of patch {rows}×{columns}: "
                "resize it, or build the model with pad=True"
            )
        return height // rows, width // columns


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
    """Fill pixels up with zeros, on the right and at the bottom, to a multiple of the patch."""

    def __init__(self, patch_size: tuple[int, int]) -> None:
        super().__init__()
        self.patch_size = patch_size

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H2 W2"]:
        height, width = pixels.shape[2:]
        return F.pad(pixels, (0, -width % self.patch_size[1], 0, -height % self.patch_size[0]))

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        return math.ceil(image_size[0] / self.patch_size[0]), math.ceil(image_size[1] / self.patch_size[1])
