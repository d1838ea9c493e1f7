"""From pixels to tokens."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from .fit import CheckMultiple, PadToMultiple
from .tokens import Tokens


class PatchEmbed(nn.Module):
    """Cut the picture into patches and project each to D channels (Dosovitskiy et al., 2021, equation 1).

    pixels (B, C, H, W) -> Tokens with grid (H / P_h, W / P_w). Equal to unfold followed by a linear layer.

    Args:
        in_channels: C of the pixels.
        embed_dim: width D of the tokens.
        patch_size: (P_h, P_w) in pixels.
        pad: fill pictures that are no multiple of the patch up with zeros, on the right and at the bottom; otherwise
            they are an error.
    """

    def __init__(self, in_channels: int, embed_dim: int, patch_size: tuple[int, int], *, pad: bool = False) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.fit = PadToMultiple(patch_size) if pad else CheckMultiple(patch_size)
        self.project = nn.Conv2d(in_channels, embed_dim, patch_size, stride=patch_size)

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> Tokens:
        image = self.project(self.fit(pixels))
        return Tokens.from_map(image)

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """How many patches, (rows, columns), a picture of this size has."""
        return self.fit.grid(image_size)


class MapEmbed(nn.Module):
    """Each cell of a CNN's map is a token: pixels (B, C, H, W) -> Tokens."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> Tokens:
        return Tokens.from_map(self.layers(pixels))


class HybridPatchEmbed(nn.Module):
    """Patches of a CNN's map instead of the picture's (Dosovitskiy et al., 2021, section 3.1, "hybrid architecture").

    pixels (B, C, H, W) -> Tokens.

    Args:
        backbone: any CNN without its head, (B, C, H, W) -> (B, channels, ⌈H / reduction⌉, ⌈W / reduction⌉).
        channels, reduction: of the backbone's map.
        embed_dim: width D of the tokens.
        patch_size: (rows, columns) of the map that make one token.
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

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> Tokens:
        return self.patches(self.backbone(pixels))

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """How many tokens, (rows, columns), a picture of this size has."""
        height, width = image_size
        return self.patches.grid((math.ceil(height / self.reduction), math.ceil(width / self.reduction)))


class Embedding(nn.Module):
    """Patches, then what is added to them: pixels (B, C, H, W) -> Tokens.

    `parts` are applied in their order, so prefix tokens in front of positions have positions of their own (ViT), and
    behind them have none (DeiT III).
    """

    def __init__(self, patches: nn.Module, **parts: nn.Module) -> None:
        super().__init__()
        self.patches = patches
        self.parts = nn.Sequential()
        for name, part in parts.items():
            self.parts.add_module(name, part)

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> Tokens:
        return self.parts(self.patches(pixels))
