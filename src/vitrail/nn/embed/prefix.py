"""Class, distillation and register tokens."""

from typing import Protocol, runtime_checkable

import torch
from torch import nn

from ..tokens import Tokens

_FIRST = ("class token", "distillation token")


@runtime_checkable
class NamesPrefix(Protocol):
    """A module that adds prefix tokens and names them, for pages and sentences."""

    def names_after(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Names of all prefix tokens after this module, in their order.

        Args:
            names: names of the prefix tokens before it.
        """


class PrefixTokens(nn.Module):
    """Learned class, distillation or register tokens in front of the sequence: (B, N, D) -> (B, count + N, D).

    They come before existing prefix tokens; in a packed batch each image has its own copies.

    Args:
        dim: width D of the tokens.
        count: number of new tokens.
    """

    def __init__(self, dim: int, count: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, count, dim))
        nn.init.normal_(self.weight, std=1e-6)

    def forward(self, tokens: Tokens) -> Tokens:
        prefix = tokens.prefix_tokens
        new = self.weight.expand(prefix.shape[0], -1, -1).to(tokens.x.dtype)
        return tokens.with_prefix(torch.cat([new, prefix], dim=1))

    def names_after(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The class token, the distillation token, and further ones by number, before those that were there."""
        count = self.weight.shape[1]
        further = (f"prefix token {number}" for number in range(len(_FIRST) + 1, count + 1))
        return (*_FIRST[:count], *further, *names)


class RegisterTokens(nn.Module):
    """Learned tokens without a position, after the existing prefix tokens.

    (B, prefix + P, D) -> (B, prefix + count + P, D). The model stores global information in them instead of in patch
    tokens (Darcet et al., 2024, "Vision transformers need registers").

    Args:
        dim: width D of the tokens.
        count: number of registers.
    """

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, count, dim))
        nn.init.normal_(self.weight, std=1e-6)

    def forward(self, tokens: Tokens) -> Tokens:
        prefix = tokens.prefix_tokens
        registers = self.weight.expand(prefix.shape[0], -1, -1).to(prefix.dtype)
        return tokens.with_prefix(torch.cat([prefix, registers], dim=1))

    def names_after(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The registers by number, after the tokens that were there."""
        return (*names, *(f"register {number}" for number in range(1, self.weight.shape[1] + 1)))
