"""The one value that travels through a model."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils import _pytree as pytree


@dataclass(frozen=True, slots=True)
class Tokens:
    """A sequence that remembers the picture it came from.

    Attributes:
        x: the sequence, (B, N, D); the first `prefix` rows are no patches.
        grid: what the patch tokens fold back into, (H, W), or (T, H, W) for video.
        prefix: how many class, distillation and register tokens lead the sequence.
        lengths: of each picture, prefix included, where several are packed behind one another in one sequence of a
            batch of 1 (see `packing`); empty otherwise.
    """

    x: Float[Tensor, "B N D"]
    grid: tuple[int, ...]
    prefix: int = 0
    lengths: tuple[int, ...] = ()

    @property
    def patches(self) -> Float[Tensor, "B P D"]:
        """The patch tokens as a sequence, without the prefix."""
        return self.x[:, self.prefix :]

    @property
    def map(self) -> Float[Tensor, "B D *grid"]:
        """The patch tokens folded back into their grid: (B, D, H, W)."""
        return self.patches.transpose(1, 2).unflatten(2, self.grid)

    @classmethod
    def from_map(cls, image: Float[Tensor, "B D *grid"]) -> "Tokens":
        """Tokens whose map is this image, row by row, without a prefix."""
        return cls(image.flatten(2).transpose(1, 2), grid=tuple(image.shape[2:]))

    def with_x(self, x: Float[Tensor, "B N D"]) -> "Tokens":
        """The same grid and prefix around another sequence of the same length."""
        return replace(self, x=x)

    def with_map(self, image: Float[Tensor, "B D *grid"]) -> "Tokens":
        """The same prefix in front of another map, of any grid and the same width."""
        patches = Tokens.from_map(image)
        return Tokens(torch.cat([self.x[:, : self.prefix], patches.x], dim=1), patches.grid, self.prefix)


def _flatten(tokens: Tokens) -> tuple[list[Any], tuple[Any, ...]]:
    return [tokens.x], (tokens.grid, tokens.prefix, tokens.lengths)


def _unflatten(leaves: Any, context: tuple[Any, ...]) -> Tokens:
    (x,) = leaves
    return Tokens(x, *context)


# compile, export, activation checkpointing and FSDP2 look for tensors through pytrees.
pytree.register_pytree_node(
    Tokens,
    _flatten,
    _unflatten,
    serialized_type_name="vitrail.Tokens",
    to_dumpable_context=lambda context: [list(context[0]), context[1], list(context[2])],
    from_dumpable_context=lambda dumped: (tuple(dumped[0]), dumped[1], tuple(dumped[2])),
)
