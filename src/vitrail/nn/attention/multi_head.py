"""Multi-head attention and cross-attention, composed of parts."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from ..tokens import Tokens
from .attend import Attend
from .projections import JointProjection, check_heads, heads_of


class NoRefinement(nn.Module):
    """Identity on queries and keys."""

    def forward(self, q: Tensor, k: Tensor, tokens: Tokens) -> tuple[Tensor, Tensor]:
        return q, k


class NoBias(nn.Module):
    """No bias on the scores."""

    def forward(self, tokens: Tokens) -> None:
        return None


class MultiHeadAttention(nn.Module):
    """Multi-head self-attention (Dosovitskiy et al., 2021, appendix A). Tokens -> Tokens.

    Variants of attention replace its parts.

    Args:
        dim: width D of the tokens.
        num_heads: number of heads h, which divides D.
        qkv: Tokens -> queries (B, h, N, d), keys (B, h, M, d) and values (B, h, M, e); one joint linear layer by
            default, see `projections`.
        refine: (q, k, tokens) -> (q, k) before the scores, such as norms or rotary positions.
        bias: Tokens -> (h, N, M), added to the scores, such as relative positions.
        attend: `Attend`, or another `AnyAttend`.
        project: output projection of the joined heads, (B, N, h e) -> (B, N, D); a linear layer by default.
        dropout: rate of dropout after the output projection.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        qkv: nn.Module | None = None,
        refine: nn.Module | None = None,
        bias: nn.Module | None = None,
        attend: nn.Module | None = None,
        project: nn.Module | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = qkv or JointProjection(dim, num_heads)
        self.refine = refine or NoRefinement()
        self.bias = bias or NoBias()
        self.attend = attend or Attend()
        self.project = project or nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, tokens: Tokens, mask: Float[Tensor, "... #N #M"] | None = None) -> Tokens:
        """Tokens -> Tokens. `mask` is added to the scores: minus infinity if a query must not attend to a key."""
        q, k, v, bias = self.attended(tokens, mask)
        return tokens.with_x(self._joined(self.attend(q, k, v, bias)))

    def attended(
        self, tokens: Tokens, mask: Float[Tensor, "... #N #M"] | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Any]:
        """Queries, keys, values, and the bias of the scores or its groups: the inputs of `attend`."""
        q, k, v = self.qkv(tokens)
        q, k = self.refine(q, k, tokens)
        bias = self.bias(tokens)
        if mask is not None:
            bias = mask if bias is None else bias + mask
        return q, k, v, bias

    def of_prefix(self, tokens: Tokens, count: int) -> Tokens:
        """The first `count` prefix tokens of the output; they attend to all tokens, others have no query."""
        few = tokens.only_prefix(count)
        q, k, v = self.qkv(tokens, few)
        q, k = self.refine(q, k, tokens)
        bias = self.bias(tokens)
        return few.with_x(self._joined(self.attend(q, k, v, bias if bias is None else bias[..., :count, :])))

    def _joined(self, heads: Float[Tensor, "B h N e"]) -> Float[Tensor, "B N D"]:
        return self.dropout(self.project(heads.transpose(1, 2).flatten(2)))


class CrossAttention(nn.Module):
    """Attention of queries to keys and values from another sequence (Vaswani et al., 2017, section 3.2.2).

    Used for a class token over its patches, a pooling query, or a decoder over its memory.

    Args:
        dim: width D of queries, keys, values and output.
        num_heads: number of heads h, which divides D.
        qkv_bias: whether the three projections have biases.
        attend: `Attend`, or another `AnyAttend`.
    """

    def __init__(self, dim: int, num_heads: int, *, qkv_bias: bool = True, attend: nn.Module | None = None) -> None:
        super().__init__()
        check_heads(dim, num_heads)
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim, bias=qkv_bias)
        self.k = nn.Linear(dim, dim, bias=qkv_bias)
        self.v = nn.Linear(dim, dim, bias=qkv_bias)
        self.attend = attend or Attend()
        self.project = nn.Linear(dim, dim)

    def forward(
        self,
        query: Float[Tensor, "B N D"],
        key: Float[Tensor, "B M D"],
        value: Float[Tensor, "B M D"],
        mask: Float[Tensor, "... #N #M"] | None = None,
    ) -> Float[Tensor, "B N D"]:
        """`mask` is added to the scores: minus infinity if a query must not attend to a key."""
        q = heads_of(self.q(query), self.num_heads)
        k = heads_of(self.k(key), self.num_heads)
        v = heads_of(self.v(value), self.num_heads)
        return self.project(self.attend(q, k, v, mask).transpose(1, 2).flatten(2))
