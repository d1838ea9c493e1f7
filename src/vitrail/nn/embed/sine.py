"""Sine positions scaled to the image, as in DETR."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn

from ..tokens import Tokens


class SinePositions(nn.Module):
    """Fixed positions, one period from edge to edge (Carion et al., 2020, "DETR", appendix A.4). Tokens -> Tokens.

    The first half of the channels encodes the row, the second the column, each with alternating sine and cosine.

    Args:
        dim: width D, a multiple of 4.
        temperature: upper limit of the wavelengths, in sides of the image; the shortest is 1.
    """

    def __init__(self, dim: int, *, temperature: float = 10_000.0) -> None:
        super().__init__()
        if dim % 4:
            raise ValueError(f"embed_dim {dim} is not a multiple of 4, which sine positions need")
        self.dim = dim
        self.temperature = temperature

    def forward(self, tokens: Tokens) -> Tokens:
        height, width = tokens.grid
        rows, columns = (sine_waves(side, self.dim // 2, self.temperature, tokens.x) for side in (height, width))
        table = torch.cat([rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)], dim=2)
        return tokens.with_x(tokens.x + table.flatten(0, 1).to(tokens.x.dtype))


@fx.wrap  # torch.fx cannot trace code that depends on shapes: calls are leaves of its graphs
def sine_waves(length: int, channels: int, temperature: float, like: Tensor) -> Float[Tensor, "N D2"]:
    """Alternating sines and cosines of the positions in a row or column, (length, channels).


    The last cell ends the period. On the device of `like`, in its precision or in float32 if that is higher.
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    places = torch.arange(1, length + 1, device=like.device, dtype=dtype)
    speeds = temperature ** -(torch.arange(0, channels, 2, device=like.device, dtype=dtype) / channels)
    angles = places[:, None] * (2 * math.pi / (length + 1e-6)) * speeds
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
