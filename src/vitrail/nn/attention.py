"""Multi-head self-attention."""

from torch import nn

from .attend import Attend
from .tokens import Tokens


class MultiHeadAttention(nn.Module):
    """Every token looks at every token (Dosovitskiy et al., 2021, appendix A). Tokens -> Tokens.

    Args:
        dim: width D of the tokens.
        num_heads: heads h; D must be a multiple of it.
        qkv_bias: a bias in the joint query, key and value projection.
        dropout: rate behind the output projection.
    """

    def __init__(self, dim: int, num_heads: int, *, qkv_bias: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"embed_dim {dim} is not a multiple of num_heads {num_heads}: choose heads that divide it")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.attend = Attend()
        self.project = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, tokens: Tokens) -> Tokens:
        batch, length, dim = tokens.x.shape
        qkv = self.qkv(tokens.x).view(batch, length, 3, self.num_heads, dim // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        heads = self.attend(q, k, v)
        joined = heads.transpose(1, 2).reshape(batch, length, dim)
        return tokens.with_x(self.dropout(self.project(joined)))
