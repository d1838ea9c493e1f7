"""Pools by attention and by concatenation: Tokens -> one vector for each image."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..attention.attend import Attend
from ..attention.multi_head import CrossAttention
from ..mlp import MLP
from ..residual import Residual
from ..tokens import Tokens


class MultiHeadAttentionPool(nn.Module):
    """Pooling by attention of one learned query to all tokens, and an MLP: Tokens -> (B, D).

    MAP, after Zhai et al. (2022), "Scaling vision transformers", section 2.1, which took it from Lee et al. (2019),
    "Set transformer", section 3.2; the pool of SigLIP.

    Args:
        dim: width D.
        num_heads: heads h; D must be a multiple of it.
        mlp: Tokens -> Tokens, behind the attention, with a residual around it and its norm.
        norm_eps: what that norm adds to the variance.
    """

    def __init__(self, dim: int, num_heads: int, mlp: MLP, *, norm_eps: float = 1e-6) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(1, 1, dim))
        self.attention = CrossAttention(dim, num_heads)
        self.refine = Residual(nn.LayerNorm(dim, eps=norm_eps), mlp)
        nn.init.trunc_normal_(self.query, std=dim**-0.5)

    def forward(self, tokens: Tokens) -> Float[Tensor, "B D"]:
        query = self.query.expand(tokens.x.shape[0], -1, -1).to(tokens.x.dtype)
        found = Tokens(self.attention(query, tokens.x, tokens.x), grid=(1,))
        return self.refine(found).x[:, 0]


class AttentionWeightedPool(nn.Module):
    """softmax(x w + b)ᵀ x: the tokens' mean, weighted by a learned score of each. Tokens -> (B, D).

    Sequence pooling of CCT (Hassani et al., 2021, "Escaping the big data paradigm with compact transformers", equations
    3 and 4). It is attention with one learned query, and can be observed as such.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = nn.Linear(dim, 1)
        self.attend = Attend()

    def forward(self, tokens: Tokens) -> Float[Tensor, "B D"]:
        batch, count, dim = tokens.x.shape
        one_head = tokens.x.unsqueeze(1)
        # `Attend` divides by √D, which these scores are not.
        query = (self.score.weight * dim**0.5).expand(batch, 1, 1, dim).to(tokens.x.dtype)
        bias = self.score.bias.expand(1, 1, 1, count).to(tokens.x.dtype)
        return self.attend(query, one_head, one_head, bias).flatten(1)


class JoinedTokens(nn.Module):
    """The first `count` tokens concatenated: Tokens -> (B, count D). For several class tokens."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, tokens: Tokens) -> Float[Tensor, "B E"]:
        return tokens.x[:, : self.count].flatten(1)
