"""Residual branches that change the prefix tokens only."""

import torch
import torch.nn.functional as F
from torch import nn

from ..tokens import Tokens
from .multi_head import CrossAttention
from .places import Places


class ClassAttention(nn.Module):
    """Attention of the class token to itself and all patches (Touvron et al., 2021, "Going deeper", section 3).

    Tokens -> Tokens, linear in the number of patches. As a branch it adds zeros to the patches, which are unchanged.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.attention = CrossAttention(dim, num_heads)

    def forward(self, tokens: Tokens) -> Tokens:
        prefix = self.attention(tokens.x[:, : tokens.prefix], tokens.x, tokens.x)
        return tokens.with_x(F.pad(prefix, (0, 0, 0, tokens.patches.shape[1])))

    def places_of(self, tokens: Tokens) -> Places:
        """Prefix tokens are the queries, all tokens the keys."""
        every = torch.arange(tokens.x.shape[1], device=tokens.x.device)[None]
        return Places(every[:, : tokens.prefix], every)


class PrefixOnly(nn.Module):
    """A branch applied to the prefix tokens alone, with zeros for the patches: Tokens -> Tokens."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, tokens: Tokens) -> Tokens:
        prefix = Tokens(tokens.x[:, : tokens.prefix], grid=(0, 0), prefix=tokens.prefix)
        return tokens.with_x(F.pad(self.branch(prefix).x, (0, 0, 0, tokens.patches.shape[1])))
