"""Which tokens a head reads."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class TokensRead:
    """Tokens that a head reads.

    Attributes:
        prefix: numbers of the prefix tokens that it reads.
        patches: whether it reads the patches.
        weighted: whether a learned query weights all tokens, prefix tokens included; their shares depend on the image.
        repeat: number of prefix tokens of one frame, if each frame of a clip has its own: `prefix` are then numbers in
            each frame. 0 if there is one group of prefix tokens.
    """

    prefix: tuple[int, ...] = ()
    patches: bool = False
    weighted: bool = False
    repeat: int = 0

    def within(self, prefix: int) -> "TokensRead":
        """The tokens read, for tokens with another number of prefix tokens: the patches if those read are missing.

        The class token of CaiT or PVT is added late; in the layers before, the patches stand for it.

        Args:
            prefix: number of prefix tokens that are there.
        """
        frames = range(0, prefix, self.repeat) if self.repeat else (0,)
        there = tuple(first + number for first in frames for number in self.prefix if first + number < prefix)
        return TokensRead(there, self.patches or not there, self.weighted)

    def shares(self, prefix: int, patches: int, like: Tensor) -> Float[Tensor, " N"]:
        """Share of each of N = prefix + patches tokens; they sum to 1.

        Each prefix token that is read has one part, the patches together have one part.

        Args:
            prefix, patches: numbers of tokens.
            like: tensor whose dtype and device the result has.
        """
        found = self.within(prefix)
        part = 1 / (len(found.prefix) + found.patches)
        shares = torch.zeros(prefix + patches, dtype=like.dtype, device=like.device)
        shares[list(found.prefix)] = part
        if found.patches:
            shares[prefix:] = part / patches
        return shares


CLASS_TOKEN = TokensRead((0,))
PATCHES = TokensRead(patches=True)
CLASS_AND_PATCHES = TokensRead((0,), patches=True)
WEIGHTED = TokensRead(patches=True, weighted=True)


@runtime_checkable
class ReadsTokens(Protocol):
    """A head, or its pool, that states which tokens it reads; `lens` follows attention from these."""

    @property
    def reads(self) -> TokensRead:
        """The tokens that are read."""
