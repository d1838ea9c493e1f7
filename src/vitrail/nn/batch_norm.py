"""Convolutions and linear layers with a batch norm, which can be folded into them after training."""

from jaxtyping import Float
from torch import Tensor, nn


class ConvNorm(nn.Sequential):
    """3×3 convolution and batch norm, (B, C, H, W) -> (B, C2, H / stride, W / stride), rounded up."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.add_module("conv", nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False))
        self.add_module("norm", nn.BatchNorm2d(out_channels))


class LinearNorm(nn.Module):
    """Linear layer and batch norm over all tokens: (B, N, D) -> (B, N, D2).

    Args:
        dim, out_dim: D and D2.
        scale: initial factor of the norm; 0 at the end of a branch whose output starts at zero.
    """

    def __init__(self, dim: int, out_dim: int, *, scale: float = 1.0) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, out_dim, bias=False)
        self.norm = nn.BatchNorm1d(out_dim)
        nn.init.constant_(self.norm.weight, scale)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N _"]:
        x = self.linear(x)
        return self.norm(x.flatten(0, 1)).view_as(x)


class NormLinear(nn.Sequential):
    """Batch norm and linear layer, (B, D) -> (B, K): a classifier."""

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        self.add_module("norm", nn.BatchNorm1d(dim))
        linear = nn.Linear(dim, out_dim)
        nn.init.trunc_normal_(linear.weight, std=0.02)
        nn.init.zeros_(linear.bias)
        self.add_module("linear", linear)
