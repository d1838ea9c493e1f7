"""Convolutional stems: pixels -> Tokens."""

import math

from jaxtyping import Float
from torch import Tensor, fx, nn

from ..batch_norm import ConvNorm
from ..convolution import ScaleFreeConv
from ..tokens import Tokens
from .whitening import Whitening

Stages = tuple[tuple[int, ...], ...]


class ConvUnit(nn.Sequential):
    """3×3 convolution, batch norm, activation: (B, C, H, W) -> (B, C2, H, W).

    With `halve`, a 2×2 max pool follows the convolution directly, so that the later layers have a quarter of the work.
    """

    def __init__(
        self, in_channels: int, out_channels: int, activation: type[nn.Module], *, halve: bool = False
    ) -> None:
        super().__init__()
        self.add_module("conv", nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False))
        if halve:
            self.add_module("halve", _halve())
        self.add_module("norm", nn.BatchNorm2d(out_channels))
        self.add_module("activation", activation())


class StridedConvs(nn.Sequential):
    """3×3 convolutions, each with batch norm and ReLU: (B, C, H, W) -> (B, C2, H2, W2).

    Args:
        in_channels: C of the pixels.
        layers: (width, stride) of each convolution.
    """

    def __init__(self, in_channels: int, layers: Stages) -> None:
        super().__init__()
        for width, stride in layers:
            conv = nn.Conv2d(in_channels, width, 3, stride=stride, padding=1, bias=False)
            self.append(nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU()))
            in_channels = width


class ResidualConv(nn.Module):
    """A residual around a convolution unit of the same width."""

    def __init__(self, unit: nn.Module) -> None:
        super().__init__()
        self.unit = unit

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return image + self.unit(image)


class ConvStem(nn.Module):
    """Convolutional stem of stages of 3×3 convolutions, each of which halves the map: pixels (B, C, H, W) -> Tokens.

    After Xiao et al. (2021), "Early convolutions help transformers see better", and the convolutional tokenizer of
    Hassani et al. (2021), "Escaping the big data paradigm with compact transformers", section 3.3.

    Args:
        in_channels: C of the pixels.
        embed_dim: width D of the tokens; a 1×1 convolution projects to it if the last stage has another width.
        stages: widths of each stage's convolutions; one that keeps the width becomes a residual.
        activation: activation after every convolution.
    """

    def __init__(self, in_channels: int, embed_dim: int, stages: Stages, activation: type[nn.Module]) -> None:
        super().__init__()
        width = in_channels
        layers: list[nn.Module] = []
        for stage in stages:
            for out in stage[:-1]:
                layers.append(_conv(width, out, activation))
                width = out
            layers += _last_conv(width, stage[-1], activation)
            width = stage[-1]
        self.layers = nn.Sequential(*layers)
        self.project = nn.Conv2d(width, embed_dim, 1) if width != embed_dim else nn.Identity()
        self.halvings = len(stages)

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> Tokens:
        image = self.project(self.layers(pixels))
        return Tokens.from_map(image)

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Number of tokens (rows, columns) of an image of this size; any size works, halves are rounded up."""
        height, width = image_size
        return math.ceil(height / 2**self.halvings), math.ceil(width / 2**self.halvings)


class StridedStem(nn.Module):
    """3×3 convolutions that each halve the map, with batch norms and activations (Graham et al., 2021, "LeViT").

    pixels (B, C, H, W) -> Tokens; any size works, halves are rounded up.

    Args:
        in_channels: C of the pixels.
        widths: width of each convolution; the last is the width D of the tokens.
        activation: activation after every convolution but the last.
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...], activation: type[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        for before, after in zip((in_channels, *widths), widths, strict=False):
            self.layers.extend([ConvNorm(before, after, stride=2), activation()])
        del self.layers[-1]
        self.halvings = len(widths)

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> Tokens:
        return Tokens.from_map(self.layers(pixels))

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Number of tokens (rows, columns) of an image of this size."""
        height, width = image_size
        return math.ceil(height / 2**self.halvings), math.ceil(width / 2**self.halvings)


class WhitenedStem(nn.Module):
    """Whitening, and stages of `ScaleFreeConv`s that each halve the map after the first: pixels (B, C, H, W) -> Tokens.

    The network of Jordan (2024), "94% on CIFAR-10 in 3.29 seconds on a single GPU", up to its last stage.

    Args:
        in_channels: C of the pixels.
        embed_dim: width D of the tokens; a 1×1 convolution projects to it if the last stage has another width.
        stages: widths of each stage's convolutions.

    Raises:
        ValueError: the image has no token.
    """

    def __init__(self, in_channels: int, embed_dim: int, stages: Stages) -> None:
        super().__init__()
        whitening = Whitening(in_channels)
        self.layers = nn.Sequential(whitening, nn.GELU())
        width = whitening.out_channels
        for stage in stages:
            for place, out in enumerate(stage):
                self.layers.append(ScaleFreeConv(width, out))
                if not place:
                    self.layers.append(nn.MaxPool2d(2))
                self.layers.extend([_shift_norm(out), nn.GELU()])
                width = out
        self.project = nn.Conv2d(width, embed_dim, 1) if width != embed_dim else nn.Identity()
        self.halvings = len(stages)

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> Tokens:
        return Tokens.from_map(self.project(self.layers(_with_a_token(pixels, self.halvings))))

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Number of tokens (rows, columns) of an image of this size; halves are rounded down."""
        height, width = image_size
        return (height - 1) // 2**self.halvings, (width - 1) // 2**self.halvings


@fx.wrap  # torch.fx cannot trace code that depends on shapes: calls are leaves of its graphs
def _with_a_token(pixels: Tensor, halvings: int) -> Tensor:
    height, width = pixels.shape[-2:]
    least = 2**halvings + 1
    if min(height, width) < least:
        raise ValueError(f"image {height}×{width} has no token behind this stem: give one of at least {least}×{least}")
    return pixels


def _shift_norm(width: int) -> nn.BatchNorm2d:
    """Batch norm whose factors stay 1, as an activation and a convolution of free scale follow it."""
    norm = nn.BatchNorm2d(width)
    norm.weight.requires_grad_(False)
    return norm


def _conv(width: int, out: int, activation: type[nn.Module]) -> nn.Module:
    unit = ConvUnit(width, out, activation)
    return ResidualConv(unit) if out == width else unit


def _last_conv(width: int, out: int, activation: type[nn.Module]) -> list[nn.Module]:
    """Last layers of a stage. The pool is inside the unit, except for a residual, which needs equal sizes."""
    if out == width:
        return [_conv(width, out, activation), _halve()]
    return [ConvUnit(width, out, activation, halve=True)]


def _halve() -> nn.Module:
    return nn.MaxPool2d(2, ceil_mode=True)
