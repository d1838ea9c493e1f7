"""MLPs of transformer blocks."""

from collections.abc import Callable

from torch import nn
from torch.nn import functional as F

from .tokens import Tokens


class MLP(nn.Module):
    """Linear, activation, linear, on each token separately (Dosovitskiy et al., 2021, section 3.1). Tokens -> Tokens.

    Args:
        dim: width D of the tokens.
        hidden_dim: width between the two layers.
        activation: constructor of the activation, such as its class.
        norm: norm after the activation, on (B, N, hidden_dim); None: no norm.
        expand, contract: replace the linear layers, (B, N, D) -> (B, N, hidden_dim) and back.
        dropout: rate of dropout after both layers.
    """

    def __init__(
        self,
        dim: int,
        hidden_dim: int,
        *,
        activation: Callable[[], nn.Module] = nn.GELU,
        norm: nn.Module | None = None,
        expand: nn.Module | None = None,
        contract: nn.Module | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.expand = expand or nn.Linear(dim, hidden_dim)
        self.activation = activation()
        self.norm = norm or nn.Identity()
        self.contract = contract or nn.Linear(hidden_dim, dim)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, tokens: Tokens) -> Tokens:
        hidden = self.dropout(self.norm(self.activation(self.expand(tokens.x))))
        return tokens.with_x(self.dropout(self.contract(hidden)))


class ConvMLP(nn.Module):
    """An MLP with a 3×3 depthwise convolution after the first layer. Tokens -> Tokens.

    Its zero padding encodes the distance to the border, so that models of such blocks need no positions (Islam et al.,
    2020). Called convolutional feed-forward in PVT v2 (Wang et al., 2022, section 3.3) and Mix-FFN in SegFormer (Xie
    et al., 2021, section 3.1). Prefix tokens have no neighbours and skip the convolution.

    Args:
        dim, hidden_dim: widths outside and inside.
        before: activation before the convolution; none by default.
        activation: activation after the convolution.
        dropout: rate of dropout after the activation and the second layer.
    """

    def __init__(
        self,
        dim: int,
        hidden_dim: int,
        *,
        before: type[nn.Module] = nn.Identity,
        activation: type[nn.Module] = nn.GELU,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.expand = nn.Linear(dim, hidden_dim)
        self.before = before()
        self.depthwise = nn.Conv2d(hidden_dim, hidden_dim, 3, padding=1, groups=hidden_dim)
        self.activation = activation()
        self.contract = nn.Linear(hidden_dim, dim)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, tokens: Tokens) -> Tokens:
        hidden = tokens.with_x(self.before(self.expand(tokens.x)))
        mixed = hidden.with_map(self.depthwise(hidden.map))
        return tokens.with_x(self.dropout(self.contract(self.dropout(self.activation(mixed.x)))))


class SwiGLU(nn.Module):
    """Gated MLP, contract(silu(gate) * value), on each token separately. Tokens -> Tokens.

    Shazeer (2020), "GLU variants improve transformer", equation 6. One layer computes gate and value, in this order.

    Args:
        dim: width D of the tokens.
        hidden_dim: width of the gate and of the value.
        norm: norm after the product with the gate (EVA-02); None: no norm.
        dropout: rate of dropout after both layers.
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
