"""Pools by attention and by concatenation: Tokens -> one vector for each image."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..attention.attend import Attend
from ..attention.multi_head import CrossAttention, NoBias
from ..mlp import MLP
from ..residual import Residual
from ..tokens import Tokens
from .reading import WEIGHTED, TokensRead


class PatchesOnly(nn.Module):
    """Tokens without the prefix tokens: Tokens -> Tokens."""

    def forward(self, tokens: Tokens) -> Tokens:
        return tokens.without_prefix()


class MultiHeadAttentionPool(nn.Module):
    """Multi-head attention pooling (MAP): attention of one learned query to all tokens, and an MLP. Tokens -> (B, D).

    Zhai et al. (2022), "Scaling vision transformers", section 2.1, after Lee et al. (2019), "Set transformer", section
    3.2; the pool of SigLIP.

    Args:
        dim: width D.
        num_heads: number of heads h, which divides D.
        mlp: Tokens -> Tokens, after the attention, as a pre-norm residual.
        norm_eps: epsilon of its norm.
        select: Tokens -> Tokens, the tokens that are attended to; all by default.
    """

    reads = WEIGHTED

    def __init__(
        self, dim: int, num_heads: int, mlp: MLP, *, norm_eps: float = 1e-6, select: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.select = select or nn.Identity()
        self.query = nn.Parameter(torch.empty(1, 1, dim))
        self.attention = CrossAttention(dim, num_heads)
        self.bias: nn.Module = NoBias()  # of the scores; a rewrite that merges tokens replaces it
        self.refine = Residual(nn.LayerNorm(dim, eps=norm_eps), mlp)
        nn.init.trunc_normal_(self.query, std=dim**-0.5)

    def forward(self, tokens: Tokens) -> Float[Tensor, "B D"]:
        tokens = self.select(tokens)
        query = self.query.expand(tokens.x.shape[0], -1, -1).to(tokens.x.dtype)
        found = Tokens(self.attention(query, tokens.x, tokens.x, self.bias(tokens)), grid=(1,))
        return self.refine(found).x[:, 0]


class AttentionWeightedPool(nn.Module):
    """Mean of the tokens weighted by learned scores, softmax(x w + b)ᵀ x. Tokens -> (B, D).

    Sequence pooling of CCT (Hassani et al., 2021, "Escaping the big data paradigm with compact transformers", equations
    3 and 4). It is attention with one learned query, and can be observed like any other.
    """

    reads = WEIGHTED

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = nn.Linear(dim, 1)
        self.attend = Attend()
        self.bias: nn.Module = NoBias()  # of the scores; a rewrite that merges tokens replaces it

    def forward(self, tokens: Tokens) -> Float[Tensor, "B D"]:
        batch, count, dim = tokens.x.shape
        one_head = tokens.x.unsqueeze(1)
        # Undoes the division by √D in `Attend`, which these scores do not have.
        query = (self.score.weight * dim**0.5).expand(batch, 1, 1, dim).to(tokens.x.dtype)
        bias = self.score.bias.expand(1, 1, 1, count).to(tokens.x.dtype)
        more = self.bias(tokens)
        return self.attend(query, one_head, one_head, bias if more is None else bias + more).flatten(1)


class JoinedTokens(nn.Module):
    """Concatenate the first `count` tokens, for several class tokens: Tokens -> (B, count D)."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    @property
    def reads(self) -> TokensRead:
        """The tokens that are concatenated."""
        return TokensRead(tuple(range(self.count)))

    def forward(self, tokens: Tokens) -> Float[Tensor, "B E"]:
        return tokens.x[:, : self.count].flatten(1)
