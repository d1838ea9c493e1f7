"""Tokens that are no patches."""

import torch
from torch import nn

from ..tokens import Tokens


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


class RegisterTokens(nn.Module):
    """Learned tokens without a position, behind the prefix tokens that are there already.

    (B, prefix + P, D) -> (B, prefix + count + P, D). They give a model a place to keep what it knows of the whole
    picture, which it would write into patches otherwise (Darcet et al., 2024, "Vision transformers need registers").
    """

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, count, dim))
        nn.init.normal_(self.weight, std=1e-6)

    def forward(self, tokens: Tokens) -> Tokens:
        lead, patches = tokens.x[:, : tokens.prefix], tokens.patches
        registers = self.weight.expand(lead.shape[0], -1, -1).to(lead.dtype)
        x = torch.cat([lead, registers, patches], dim=1)
        return Tokens(x, tokens.grid, tokens.prefix + self.weight.shape[1])
