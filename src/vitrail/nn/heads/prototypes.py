"""Heads that compare embeddings with learned prototypes."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Prototypes(nn.Module):
    """Linear layer with weight normalisation to K vectors of fixed length: (B, D) -> (B, K).

    The lengths are buffers stored with the weights. They are 1, except in models that were trained with other lengths.
    """

    lengths: Float[Tensor, "K 1"]

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.empty(count, dim))
        nn.init.trunc_normal_(self.directions, std=0.02)
        self.register_buffer("lengths", torch.ones(count, 1))

    def forward(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B K"]:
        return F.linear(x, self.lengths * F.normalize(self.directions, dim=1))


class PrototypeHead(nn.Sequential):
    """Three linear layers, normalisation to unit length, and prototypes: (B, D) -> (B, K).

    The projection head of DINO (Caron et al., 2021, section 3.1 and appendix C).
    """

    def __init__(self, dim: int, count: int, *, hidden_dim: int, bottleneck_dim: int) -> None:
        super().__init__()
        self.add_module("expand", nn.Linear(dim, hidden_dim))
        self.add_module("activation1", nn.GELU())
        self.add_module("hidden", nn.Linear(hidden_dim, hidden_dim))
        self.add_module("activation2", nn.GELU())
        self.add_module("contract", nn.Linear(hidden_dim, bottleneck_dim))
        self.add_module("unit", UnitLength())
        self.add_module("prototypes", Prototypes(bottleneck_dim, count))


class UnitLength(nn.Module):
    """Normalise each vector to length 1: (B, D) -> (B, D)."""

    def forward(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        return F.normalize(x, dim=-1)
