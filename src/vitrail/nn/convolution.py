"""Convolutions on the grid of tokens."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, fx, nn

from .tokens import Tokens


class DepthwiseConv(nn.Conv2d):
    """Depthwise k×k convolution (Liu et al., 2022, "ConvNeXt", section 2.3).

    Tokens -> Tokens, for tokens without a prefix.

    Args:
        dim: width D of the tokens.
        kernel_size: k, odd.
    """

    def __init__(self, dim: int, kernel_size: int) -> None:
        super().__init__(dim, dim, kernel_size, padding=kernel_size // 2, groups=dim)

    def forward(self, tokens: Tokens) -> Tokens:  # type: ignore[override]
        return Tokens.from_map(super().forward(tokens.map))


@fx.wrap  # torch.fx cannot trace code that depends on the layout: calls are leaves of its graphs
def convolve_patches(
    image: Float[Tensor, "B C H W"], weight: Float[Tensor, "C2 C h w"], bias: Float[Tensor, " C2"] | None
) -> Float[Tensor, "B C2 H2 W2"]:
    """Convolution whose stride is its kernel, computed as the product of the filters with each patch.

    (B, C, H, W) -> (B, C2, H / h, W / w), with the channels last in memory; H and W are multiples of h and w. On CPUs
    it is faster than the convolution, which unfolds images of few channels into buffers, above all backwards and in
    reduced precision; see LOG.md. Exported graphs have the convolution, which other runtimes are made for.
    """
    height, width = weight.shape[2:]
    if torch.compiler.is_exporting():
        return F.conv2d(image, weight, bias, stride=(height, width))
    if image.is_contiguous(memory_format=torch.channels_last):  # patches in the order of the memory
        cells = image.permute(0, 2, 3, 1).unflatten(2, (-1, width)).unflatten(1, (-1, height))
        patches, filters = cells.transpose(2, 3).flatten(3), weight.permute(0, 2, 3, 1).flatten(1)
    else:
        cells = image.unflatten(3, (-1, width)).unflatten(2, (-1, height))  # (B, C, H2, h, W2, w)
        patches, filters = cells.permute(0, 2, 4, 1, 3, 5).flatten(3), weight.flatten(1)
    return F.linear(patches, filters, bias).permute(0, 3, 1, 2)


class PatchConv(nn.Conv2d):
    """`convolve_patches` with filters of its own.

    Args:
        in_channels, out_channels: of the image and of the result.
        kernel_size: (height, width) of a patch.
        bias: whether there is a bias.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: tuple[int, int], *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride=kernel_size, bias=bias)

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        return convolve_patches(image, self.weight, self.bias)


class ScaleFreeConv(nn.Conv2d):
    """3×3 convolution in front of a batch norm, so that the scale of its filters has no effect.

    (B, C, H, W) -> (B, C2, H, W). It starts as the identity of its first channels. Muon keeps the norm of its filters
    at √out and turns them by an angle that the learning rate states (code released with Jordan, 2024, "94% on
    CIFAR-10 in 3.29 seconds on a single GPU").
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=False)
        with torch.no_grad():
            nn.init.dirac_(self.weight[:in_channels])


class GlobalResponseNorm(nn.Module):
    """x + weight · x · ‖x‖ / mean ‖x‖ + bias (Woo et al., 2023, "ConvNeXt V2", section 3.2).

    ‖x‖ is the norm of a channel over all tokens. (B, N, D) -> (B, N, D).

    Args:
        dim: channels D.
        eps: added to the mean.
    """

    def __init__(self, dim: int, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.zeros(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        response = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        share = response / (response.mean(dim=2, keepdim=True) + self.eps)
        return x + self.weight * (x * share) + self.bias


class OnMap(nn.Module):
    """Apply layers of a CNN to the map of the tokens: Tokens -> Tokens, without a prefix.

    Map and sequence are views of the same memory.

    Args:
        layers: (B, C, H, W) -> (B, C2, H2, W2).
    """

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, tokens: Tokens) -> Tokens:
        return Tokens.from_map(self.layers(tokens.map))
