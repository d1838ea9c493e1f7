"""Tokens -> queries, keys and values: where they come from, and how many there are of each."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .tokens import Tokens

Heads = Float[Tensor, "B h _ _"]
QKV = tuple[Heads, Heads, Heads]


def heads_of(x: Float[Tensor, "B N D"], num_heads: int) -> Float[Tensor, "B h N d"]:
    """Cut the channels into heads."""
    return x.unflatten(2, (num_heads, -1)).transpose(1, 2)


def check_heads(dim: int, num_heads: int) -> None:
    """The width is a multiple of the heads, or an error that says so."""
    if dim % num_heads:
        raise ValueError(f"embed_dim {dim} is not a multiple of num_heads {num_heads}: choose heads that divide it")


class JointProjection(nn.Linear):
    """One linear layer for queries, keys and values of all tokens (Dosovitskiy et al., 2021, equation 5)."""

    def __init__(self, dim: int, num_heads: int, *, bias: bool = True) -> None:
        check_heads(dim, num_heads)
        super().__init__(dim, 3 * dim, bias=bias)
        self.num_heads = num_heads

    def forward(self, tokens: Tokens) -> QKV:  # type: ignore[override]
        joint = super().forward(tokens.x).unflatten(2, (3, self.num_heads, -1))
        q, k, v = joint.permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v


class JointProjectionWithoutKeyBias(nn.Linear):
    """A joint projection with biases of queries and values only (Bao et al., 2022, "BEiT", its code).

    A bias of the keys adds the same number to all scores of a query, which the softmax takes away again.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        check_heads(dim, num_heads)
        super().__init__(dim, 3 * dim, bias=False)
        self.num_heads = num_heads
        self.q_bias = nn.Parameter(torch.zeros(dim))
        self.v_bias = nn.Parameter(torch.zeros(dim))

    def forward(self, tokens: Tokens) -> QKV:  # type: ignore[override]
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        joint = F.linear(tokens.x, self.weight, bias).unflatten(2, (3, self.num_heads, -1))
        q, k, v = joint.permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v
