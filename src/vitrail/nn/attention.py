"""Multi-head self-attention."""

from jaxtyping import Float
from torch import Tensor, nn

from .attend import Attend
from .tokens import Tokens

Heads = Float[Tensor, "B h N d"]


class JointProjection(nn.Linear):
    """One linear layer for queries, keys and values: (B, N, D) -> three of (B, h, N, D / h)."""

    def __init__(self, dim: int, num_heads: int, *, bias: bool = True) -> None:
        super().__init__(dim, 3 * dim, bias=bias)
        self.num_heads = num_heads

    def forward(self, x: Float[Tensor, "B N D"]) -> tuple[Heads, Heads, Heads]:
        q, k, v = super().forward(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v


class NoBias(nn.Module):
    """Nothing is added to the scores."""

    def forward(self, tokens: Tokens) -> None:
        return None


class MultiHeadAttention(nn.Module):
    """Every token looks at every token (Dosovitskiy et al., 2021, appendix A). Tokens -> Tokens.

    Args:
        dim: width D of the tokens.
        num_heads: heads h; D must be a multiple of it.
        qkv_bias: a bias in the joint query, key and value projection.
        bias: Tokens -> (h, N, N), added to the scores, such as `RelativeBias`.
        dropout: rate behind the output projection.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        qkv_bias: bool = True,
        bias: nn.Module | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"embed_dim {dim} is not a multiple of num_heads {num_heads}: choose heads that divide it")
        self.qkv = JointProjection(dim, num_heads, bias=qkv_bias)
        self.bias = bias or NoBias()
        self.attend = Attend()
        self.project = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, tokens: Tokens, mask: Float[Tensor, "... N N"] | None = None) -> Tokens:
        """Tokens -> Tokens. `mask` is added to the scores: minus infinity where a query must not look."""
        q, k, v = self.qkv(tokens.x)
        bias = self.bias(tokens)
        if mask is not None:
            bias = mask if bias is None else bias + mask
        heads = self.attend(q, k, v, bias)
        return tokens.with_x(self.dropout(self.project(heads.transpose(1, 2).flatten(2))))
