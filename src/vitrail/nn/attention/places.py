"""The groups of tokens that attend to each other, for attentions inside windows, frames or lines."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from ..tokens import Tokens

NOWHERE = -1
"""Index of padding, which is no token of the image."""


@dataclass(frozen=True, slots=True)
class Places:
    """Tokens of each group, as indices in the module's input sequence.

    The attention has a batch of B × G: the groups of the first image, then those of the second, and so on.

    Attributes:
        queries: (G, n), `NOWHERE` for padding.
        keys: (G, m), likewise.
    """

    queries: Int[Tensor, "G n"]
    keys: Int[Tensor, "G m"]

    @classmethod
    def among(cls, tokens: Int[Tensor, "G n"]) -> "Places":
        """Return groups whose tokens attend to each other."""
        return cls(tokens, tokens)


@runtime_checkable
class AttendsInGroups(Protocol):
    """A module whose attention stays inside groups of its input tokens, or does not start from all of them."""

    def places_of(self, tokens: Tokens) -> Places:
        """Return the tokens of each group."""


@runtime_checkable
class AttendsToOthers(Protocol):
    """A module whose input tokens are queries only: the keys are those of another argument, such as an image."""

    def keys_of(self, queries: Tokens, memory: Any, /) -> Tokens:
        """Return the keys, from the arguments of `forward`."""


def numbers(grid: tuple[int, ...], prefix: int, device: torch.device) -> Int[Tensor, "*grid"]:
    """Index of each patch token in the sequence, on its grid."""
    count = torch.Size(grid).numel()
    return torch.arange(prefix, prefix + count, device=device).unflatten(0, grid)
