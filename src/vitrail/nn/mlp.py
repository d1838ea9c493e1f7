"""The two-layer perceptron of a block."""

from torch import nn
from torch.nn import functional as F

from .tokens import Tokens


class MLP(nn.Module):
    """Linear, activation, linear, on each token by itself (Dosovitskiy et al., 2021, section 3.1). Tokens -> Tokens."""

    def __init__(
        self, dim: int, hidden_dim: int, *, activation: type[nn.Module] = nn.GELU, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.expand = nn.Linear(dim, hidden_dim)
        self.activation = activation()
        self.contract = nn.Linear(hidden_dim, dim)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, tokens: Tokens) -> Tokens:
        hidden = self.dropout(self.activation(self.expand(tokens.x)))
        return tokens.with_x(self.dropout(self.contract(hidden)))


class SwiGLU(nn.Module):
    """contract(silu(gate) * value), on each token by itself (Shazeer, 2020, "GLU variants", section 2). Tokens -> Tokens.

    One layer gives gate and value, in this order.

    Args:
        dim: width D of the tokens.
        hidden_dim: width of the gate and of the value.
        norm: on what the gate let through (EVA-02); nothing by default.
        dropout: rate behind both layers.
    """

    def __init__(self, dim: int, hidden_dim: int, *, norm: nn.Module | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.expand = nn.Linear(dim, 2 * hidden_dim)
        self.norm = norm or nn.Identity()
        self.contract = nn.Linear(hidden_dim, dim)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, tokens: Tokens) -> Tokens:
        gate, value = self.expand(tokens.x).chunk(2, dim=-1)
        hidden = self.norm(self.dropout(F.silu(gate) * value))
        return tokens.with_x(self.dropout(self.contract(hidden)))
