"""Cosine attention."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..tokens import Tokens

MAX_SCALE = 100.0


class CosineScores(nn.Module):
    """Scores are cosines times a learned scale of each head (Liu et al., 2022, "Swin Transformer V2", section 3.2).

    A refinement (q, k, tokens) -> (q, k). Scores cannot grow with the width of the model; the scale starts at 10
    and never exceeds 100.
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.full((num_heads,), math.log(10.0)))

    def forward(
        self, q: Float[Tensor, "B h N d"], k: Float[Tensor, "B h M d"], tokens: Tokens
    ) -> tuple[Float[Tensor, "B h N d"], Float[Tensor, "B h M d"]]:
        # Undoes the division by √d in `Attend`, which cosines do not need.
        scale = self.log_scale.clamp(max=math.log(MAX_SCALE)).exp() * math.sqrt(q.shape[-1])
        return F.normalize(q, dim=-1) * scale[:, None, None], F.normalize(k, dim=-1)
