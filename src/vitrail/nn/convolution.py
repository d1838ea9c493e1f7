"""Convolutions on the grid of tokens."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

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
