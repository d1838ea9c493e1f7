"""Tokens that are no patches."""

import torch
from torch import nn

from .tokens import Tokens


class PrefixTokens(nn.Module):
    """Learned tokens in front of the sequence: class, distillation or register tokens.

    (B, N, D) -> (B, count + N, D). A new part goes in front of the prefix tokens that are there already.
    """

    def __init__(self, dim: int, count: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, count, dim))
        nn.init.normal_(self.weight, std=1e-6)

    def forward(self, tokens: Tokens) -> Tokens:
        lead = self.weight.expand(tokens.x.shape[0], -1, -1).to(tokens.x.dtype)
        return Tokens(torch.cat([lead, tokens.x], dim=1), tokens.grid, tokens.prefix + self.weight.shape[1])
