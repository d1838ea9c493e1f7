"""Patch dropout: training on a random part of the patches."""

import torch
from torch import nn

from ..tokens import Tokens


class PatchDropout(nn.Module):
    """Leaves out random patch tokens of each image in training (Liu et al., 2022, "PatchDropout", section 3).

    The prefix tokens stay. In evaluation all tokens are returned.

    Args:
        rate: fraction of the patches that is left out, in [0, 1); at least one patch is kept.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"patch dropout rate {rate} is not in [0, 1): choose a smaller one")
        self.rate = rate

    def forward(self, tokens: Tokens) -> Tokens:
        if not self.training or self.rate == 0:
            return tokens
        images, count = tokens.patches.shape[:2]
        kept = max(1, int(count * (1 - self.rate)))
        order = torch.rand(images, count, device=tokens.x.device).argsort(dim=1)
        return tokens.keep(order[:, :kept])
