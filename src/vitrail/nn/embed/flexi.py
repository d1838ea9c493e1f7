"""Patch embeddings of variable patch size (Beyer et al., 2023, "FlexiViT: one model for all patch sizes")."""

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn

from ..convolution import convolve_patches
from ..tokens import Tokens
from .patches import PatchEmbed
from .positions import LearnedPositions
from .resample import resample


class PositionalPatchEmbed(nn.Module):
    """Patch embedding with learned positions: pixels (B, C, H, W) -> Tokens.

    For models with further parts, such as a class token, see `Embedding`.

    Args:
        in_channels: C of the pixels.
        embed_dim: width D of the tokens.
        patch_size, image_size: (height, width) in pixels; images of other sizes get resampled positions.
        pad: see `PatchEmbed`.
        mode, antialias: how positions are resampled, see `resample_positions`.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dim: int,
        patch_size: tuple[int, int],
        image_size: tuple[int, int],
        *,
        pad: bool = False,
        mode: str = "bicubic",
        antialias: bool = True,
    ) -> None:
        super().__init__()
        self.patches = PatchEmbed(in_channels, embed_dim, patch_size, pad=pad)
        self.positions = LearnedPositions(self.patches.grid(image_size), embed_dim, mode=mode, antialias=antialias)

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> Tokens:
        return self.positions(self.patches(pixels))


class FlexiPatchEmbed(nn.Module):
    """Patch embedding for training with random patch sizes (Beyer et al., 2023, sections 3.2 and 3.4).

    In training each batch has a random patch size; in evaluation it is `patch_size`, which may be changed at any time.
    The filters are stored at one size and resized to the others.

    Args:
        in_channels: C of the pixels.
        embed_dim: width D of the tokens.
        patch_size: (P_h, P_w) in evaluation.
        sizes: patch sizes in training; an image's sides must be multiples of each.
        stored_size: size of the stored filters, at least the largest of the sizes.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dim: int,
        patch_size: tuple[int, int],
        sizes: tuple[tuple[int, int], ...],
        stored_size: tuple[int, int] = (32, 32),
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.sizes = sizes
        self.project = nn.Conv2d(in_channels, embed_dim, stored_size, stride=stored_size)

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> Tokens:
        size = self.choose()
        filters = resize_patch_weights(self.project.weight, size)
        return Tokens.from_map(convolve_patches(_checked(pixels, size), filters, self.project.bias))

    def choose(self) -> tuple[int, int]:
        """Choose the patch size of a batch."""
        return self.sizes[int(torch.randint(len(self.sizes), ()))] if self.training else self.patch_size


# torch.fx cannot trace code that depends on shapes: calls of these functions are leaves of its graphs.
fx.wrap("convolve_patches")


@fx.wrap
def _checked(pixels: Float[Tensor, "B C H W"], size: tuple[int, int]) -> Float[Tensor, "B C H W"]:
    for side, patch in zip(pixels.shape[2:], size, strict=True):
        if side % patch:
            raise ValueError(f"a side of {side} pixels is not a multiple of patch {patch}: choose other sizes")
    return pixels


@fx.wrap
def resize_patch_weights(
    weight: Float[Tensor, "O *C h w"], size: tuple[int, int], *, mode: str = "bicubic", antialias: bool = True
) -> Float[Tensor, "O *C h2 w2"]:
    """Resize the filters of a patch embedding by pseudo-inverse (Beyer et al., 2023, section 3.4).

    The new filters have the same outputs on resized patches as the old ones on the original patches: exactly for
    larger patches, and in the least-squares sense for white noise for smaller ones. Resizing acts on rows and columns
    separately, and so does its pseudo-inverse.

    Args:
        weight: filters (O, C, h, w), or (O, C, t, h, w) of tubelets, frame by frame.
        size: (rows, columns) of the new patches.
        mode, antialias: how patches are resized.
    """
    if tuple(weight.shape[-2:]) == tuple(size):
        return weight
    exact = weight.double()
    down, across = (
        _inverse_resize(old, new, mode, antialias, exact) for old, new in zip(weight.shape[-2:], size, strict=True)
    )
    return (down @ exact @ across.T).to(weight.dtype)


def _inverse_resize(old: int, new: int, mode: str, antialias: bool, like: Tensor) -> Float[Tensor, "new old"]:
    """(Bᵀ)⁺ of the matrix B (new, old) that resizes a line of pixels."""
    lines = torch.eye(old, dtype=like.dtype, device=like.device)[None, :, None, :]
    return torch.linalg.pinv(resample(lines, (1, new), mode=mode, antialias=antialias)[0, :, 0])
