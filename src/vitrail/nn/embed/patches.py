"""Patch embeddings: pixels -> Tokens."""

import math
from collections import OrderedDict

from jaxtyping import Float, Shaped
from torch import Tensor, fx, nn

from ..convolution import PatchConv
from ..tokens import Tokens
from .fit import CheckMultiple, CropToMultiple, PadToMultiple
from .values import Fit, ValuesFit


class PatchEmbed(nn.Module):
    """Cut the image into patches and project each to D channels (Dosovitskiy et al., 2021, equation 1).

    pixels (B, C, H, W) -> Tokens with grid (H / P_h, W / P_w). The same as unfold followed by a linear layer.

    Args:
        in_channels: C of the pixels.
        embed_dim: width D of the tokens.
        patch_size: (P_h, P_w) in pixels.
        pad: pad images with zeros, on the right and at the bottom, to a multiple of the patch; otherwise other sizes
        raise ValueError.
        crop: crop images after the last whole patch instead.
        bias: whether the projection has a bias.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dim: int,
        patch_size: tuple[int, int],
        *,
        pad: bool = False,
        crop: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        fit = CropToMultiple if crop else PadToMultiple if pad else CheckMultiple
        self.fit: Fit | ValuesFit = fit(patch_size)
        self.project = PatchConv(in_channels, embed_dim, patch_size, bias=bias)

    def forward(self, pixels: Shaped[Tensor, "B C H W"]) -> Tokens:
        image = self.project(self.fit(pixels))
        return Tokens.from_map(image)

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Number of patches (rows, columns) of an image of this size."""
        rows, columns = self.fit.grid(image_size)
        return rows, columns


class TubeletEmbed(nn.Module):
    """Cut the video into tubelets and project each (Arnab et al., 2021, "ViViT", section 3.2).

    pixels (B, C, T, H, W) -> Tokens with grid (T / P_t, H / P_h, W / P_w). A tubelet of one frame is a patch.

    Args:
        in_channels: C of the pixels.
        embed_dim: width D of the tokens.
        tubelet_size: (P_t, P_h, P_w) in frames and pixels.
        pad: pad videos with zeros to a multiple of the tubelet; otherwise other sizes raise ValueError.
    """

    def __init__(
        self, in_channels: int, embed_dim: int, tubelet_size: tuple[int, int, int], *, pad: bool = False
    ) -> None:
        super().__init__()
        self.tubelet_size = tubelet_size
        self.fit: Fit | ValuesFit = PadToMultiple(tubelet_size) if pad else CheckMultiple(tubelet_size)
        self.project = nn.Conv3d(in_channels, embed_dim, tubelet_size, stride=tubelet_size)

    def forward(self, pixels: Shaped[Tensor, "B C T H W"]) -> Tokens:
        return Tokens.from_map(self.project(self.fit(pixels)))

    def grid(self, video_size: tuple[int, int, int]) -> tuple[int, int, int]:
        """Number of tubelets (frames, rows, columns) of a video of this size (frames, height, width)."""
        deep, rows, columns = self.fit.grid(video_size)
        return deep, rows, columns


class OverlappingPatchEmbed(nn.Module):
    """Overlapping patches: a convolution larger than its stride, and a norm (Wang et al., 2022, "PVT v2", section 3.2).

    pixels (B, C, H, W) -> Tokens. With the usual padding, half the patch, the grid is (⌈H / stride⌉, ⌈W / stride⌉), so
    any size works.

    Args:
        in_channels: C of the pixels.
        embed_dim: width D of the tokens.
        patch_size, stride: side of a patch and distance of patches, in pixels.
        padding: zeros on each side, in pixels; half the patch by default.
        norm_eps: epsilon of the norm.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dim: int,
        *,
        patch_size: int,
        stride: int,
        padding: int | None = None,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        padding = patch_size // 2 if padding is None else padding
        self.smallest = patch_size - 2 * padding
        self.project = nn.Conv2d(in_channels, embed_dim, patch_size, stride=stride, padding=padding)
        self.norm = nn.LayerNorm(embed_dim, eps=norm_eps)

    def forward(self, pixels: Shaped[Tensor, "B C H W"]) -> Tokens:
        tokens = Tokens.from_map(self.project(_checked(pixels, self.smallest)))
        return tokens.with_x(self.norm(tokens.x))


@fx.wrap  # torch.fx cannot trace code that depends on shapes: calls are leaves of its graphs
def _checked(pixels: Shaped[Tensor, "B C H W"], smallest: int) -> Float[Tensor, "B C H W"]:
    height, width = pixels.shape[2:]
    if min(height, width) < smallest:
        raise ValueError(f"image {height}×{width} is smaller than a patch: give one of at least {smallest}×{smallest}")
    return pixels


class MapEmbed(nn.Module):
    """Embedding by a CNN, with a token for each cell of its map: pixels (B, C, H, W) -> Tokens."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, pixels: Shaped[Tensor, "B C H W"]) -> Tokens:
        return Tokens.from_map(self.layers(pixels))


class HybridPatchEmbed(nn.Module):
    """Patch embedding of a CNN's map instead of the image (Dosovitskiy et al., 2021, section 3.1, "hybrid").

    pixels (B, C, H, W) -> Tokens.

    Args:
        backbone: any CNN without its head, (B, C, H, W) -> (B, channels, ⌈H / reduction⌉, ⌈W / reduction⌉).
        channels, reduction: channels of the backbone's map, and side of its cells in pixels.
        embed_dim: width D of the tokens.
        patch_size: (rows, columns) of a patch, in cells of the map.
        pad: as in `PatchEmbed`, for the map.
    """

    def __init__(
        self,
        backbone: nn.Module,
        channels: int,
        reduction: int,
        embed_dim: int,
        patch_size: tuple[int, int] = (1, 1),
        *,
        pad: bool = False,
    ) -> None:
        super().__init__()
        self.reduction = reduction
        self.backbone = backbone
        self.patches = PatchEmbed(channels, embed_dim, patch_size, pad=pad)

    def forward(self, pixels: Shaped[Tensor, "B C H W"]) -> Tokens:
        return self.patches(self.backbone(pixels))

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Number of tokens (rows, columns) of an image of this size."""
        height, width = image_size
        return self.patches.grid((math.ceil(height / self.reduction), math.ceil(width / self.reduction)))


class Embedding(nn.Module):
    """Patch embedding, then parts such as prefix tokens and positions: (B, C, H, W), or (B, C, T, H, W), -> Tokens.

    `parts` are applied in order: prefix tokens before positions have positions (ViT), and prefix tokens after them have
    none (DeiT III).
    """

    def __init__(self, patches: nn.Module, **parts: nn.Module) -> None:
        super().__init__()
        self.patches = patches
        self.parts = nn.Sequential(OrderedDict(parts))

    def forward(self, pixels: Shaped[Tensor, "B C *size"]) -> Tokens:
        return self.parts(self.patches(pixels))
