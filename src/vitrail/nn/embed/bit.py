"""ResNet with standardised filters and group norm (Kolesnikov et al., 2020, "Big Transfer (BiT)").

The CNN of the published hybrid ViTs; norms are after the convolutions, as in the first ResNet.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, fx, nn

_GROUPS = 32


class StandardisedConv(nn.Conv2d):
    """A convolution with filters standardised to mean 0 and variance 1 in each call (Qiao et al., 2019, section 3).

    (B, C, H, W) -> (B, C2, ⌈H / stride⌉, ⌈W / stride⌉), without bias.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride=stride, bias=False)

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        filters = F.layer_norm(self.weight, self.weight.shape[1:], eps=1e-8)
        return F.conv2d(pad_same(image, self.kernel_size[0], self.stride[0]), filters, stride=self.stride)


class StandardisedConvNorm(nn.Sequential):
    """A standardised convolution and a group norm, with a ReLU unless `activate` is False."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, *, activate: bool = True
    ) -> None:
        super().__init__()
        self.add_module("conv", StandardisedConv(in_channels, out_channels, kernel_size, stride))
        self.add_module("norm", nn.GroupNorm(_GROUPS, out_channels))
        self.add_module("activation", nn.ReLU() if activate else nn.Identity())


class Bottleneck(nn.Module):
    """Residual of 1×1, 3×3 and 1×1 convolutions, a quarter as wide inside (He et al., 2016, figure 5)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, *, first: bool) -> None:
        super().__init__()
        inner = out_channels // 4
        self.layers = nn.Sequential(
            StandardisedConvNorm(in_channels, inner, 1),
            StandardisedConvNorm(inner, inner, 3, stride),
            StandardisedConvNorm(inner, out_channels, 1, activate=False),
        )
        self.shortcut: nn.Module = nn.Identity()
        if first:
            self.shortcut = StandardisedConvNorm(in_channels, out_channels, 1, stride, activate=False)

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        return F.relu(self.layers(image) + self.shortcut(image))


class PoolSame(nn.Module):
    """3×3 max pool of stride 2: (B, C, H, W) -> (B, C, ⌈H / 2⌉, ⌈W / 2⌉)."""

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H2 W2"]:
        return F.max_pool2d(pad_same(image, 3, 2, -torch.inf), 3, stride=2)


class BiTResNet(nn.Module):
    """Stem and stages: (B, C, H, W) -> (B, channels, ⌈H / reduction⌉, ⌈W / reduction⌉).

    Args:
        in_channels: C of the pixels.
        depths: number of bottlenecks of each stage; if empty, there is only the stem.
        width: channels of the stem; the first stage has four times as many, each later one twice those of the last.

    Attributes:
        channels: channels of the output.
        reduction: side of a cell of the output, in pixels.
    """

    def __init__(self, in_channels: int, depths: tuple[int, ...], width: int = 64) -> None:
        super().__init__()
        self.stem = StandardisedConvNorm(in_channels, width, 7, 2)
        self.pool = PoolSame()
        self.stages = nn.Sequential()
        channels = width
        for index, depth in enumerate(depths):
            out = 4 * width * 2**index
            units = [Bottleneck(channels, out, 2 if index else 1, first=True)]
            units += [Bottleneck(out, out, 1, first=False) for _ in range(depth - 1)]
            self.stages.append(nn.Sequential(*units))
            channels = out
        self.channels = channels
        self.reduction = 4 * 2 ** max(0, len(depths) - 1)

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        return self.stages(self.pool(self.stem(image)))


@fx.wrap  # torch.fx keeps its calls whole, as it cannot follow what depends on the shapes of tensors
def pad_same(
    image: Float[Tensor, "B C H W"], kernel_size: int, stride: int, value: float = 0.0
) -> Float[Tensor, "B C H2 W2"]:
    """Pad for an output of ⌈side / stride⌉ cells, an odd pixel on the right and at the bottom, as in TensorFlow."""
    lacking = [
        max(0, (math.ceil(side / stride) - 1) * stride + kernel_size - side)
        for side in (image.shape[3], image.shape[2])
    ]
    return F.pad(image, [part for total in lacking for part in (total // 2, total - total // 2)], value=value)
