"""Which tokens meet, where an attention is not given all of them at once."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

NOWHERE = -1
"""What stands for no token of the picture: padding."""


@dataclass(frozen=True, slots=True)
class Places:
    """The tokens that a module hands to the attention inside it, by their numbers in the sequence it was given.

    The attention sees a batch of B × G: the groups of the first picture, then those of the second.

    Attributes:
        queries: (G, n), `NOWHERE` for what is no token.
        keys: (G, m), likewise.
    """

    queries: Int[Tensor, "G n"]
    keys: Int[Tensor, "G m"]

    @classmethod
    def among(cls, tokens: Int[Tensor, "G n"]) -> "Places":
        """Groups whose tokens look at each other."""
        return cls(tokens, tokens)


def numbers(grid: tuple[int, ...], prefix: int, device: torch.device) -> Int[Tensor, "*grid"]:
    """The number of each patch token in the sequence, on its grid."""
    count = torch.Size(grid).numel()
    return torch.arange(prefix, prefix + count, device=device).unflatten(0, grid)
