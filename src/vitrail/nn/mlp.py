"""The two-layer perceptron of a block."""

from torch import nn

from .tokens import Tokens


class MLP(nn.Module):
    """Linear, activation, linear, on each token by itself (Dosovitskiy et al., 2021, section 3.1). Tokens -> Tokens.

    Args:
        dim, hidden_dim: width D of the tokens, and between the layers.
        activation: between the layers.
        expand, contract: other layers, (B, N, D) -> (B, N, hidden) and back.
        dropout: rate behind both layers.
    """

    def __init__(
        self,
        dim: int,
        hidden_dim: int,
        *,
        activation: type[nn.Module] = nn.GELU,
        expand: nn.Module | None = None,
        contract: nn.Module | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.expand = expand or nn.Linear(dim, hidden_dim)
        self.activation = activation()
        self.contract = contract or nn.Linear(hidden_dim, dim)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, tokens: Tokens) -> Tokens:
        hidden = self.dropout(self.activation(self.expand(tokens.x)))
        return tokens.with_x(self.dropout(self.contract(hidden)))
