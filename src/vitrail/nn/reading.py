"""Computing only the tokens that a head reads: the last block's queries and MLP, or the mean before a linear layer."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .attention.multi_head import MultiHeadAttention
from .attention.places import Places, numbers
from .attention.projections import ConvProjection
from .residual import Residual
from .tokens import Tokens


class PrefixQueries(nn.Module):
    """Attention of the first `count` prefix tokens to all tokens: Tokens -> Tokens of these.

    Args:
        attention: attention whose queries, keys and values are made by a `qkv` that takes the tokens of the queries.
        count: number of tokens.
    """

    def __init__(self, attention: MultiHeadAttention, count: int) -> None:
        super().__init__()
        self.attention = attention
        self.count = count

    def forward(self, tokens: Tokens) -> Tokens:
        return self.attention.of_prefix(tokens, self.count)

    def places_of(self, tokens: Tokens) -> Places:
        """The first tokens are the queries; keys are all tokens, or those at the stride of a convolution."""
        lead = torch.arange(tokens.prefix, device=tokens.x.device)
        cells = numbers(tokens.grid, tokens.prefix, tokens.x.device)
        if isinstance(self.attention.qkv, ConvProjection):
            down, right = self.attention.qkv.k.conv.stride
            cells = cells[::down, ::right]
        return Places(lead[None, : self.count], torch.cat([lead, cells.flatten()])[None])


class OnPrefix(nn.Module):
    """A residual for the first `count` prefix tokens alone: Tokens -> Tokens of these.

    Args:
        residual: its branch returns as many tokens, such as `PrefixQueries`.
        count: number of tokens.
    """

    def __init__(self, residual: Residual, count: int) -> None:
        super().__init__()
        self.residual = residual
        self.count = count

    def forward(self, tokens: Tokens, stream: Tokens | None = None) -> Tokens:
        few = (stream or tokens).only_prefix(self.count)
        return few.with_x(self.residual(tokens, stream=few).x)


class OnMean(nn.Module):
    """The mean over the patches of a residual's output: Tokens -> Tokens with one token.

    Args:
        residual: its branch returns the mean over the patches, see `LinearOfMean`.
    """

    def __init__(self, residual: Residual) -> None:
        super().__init__()
        self.residual = residual

    def forward(self, tokens: Tokens) -> Tokens:
        mean = tokens.mean_patch()
        return mean.with_x(self.residual(tokens.without_prefix(), stream=mean).x)


class LinearOfMean(nn.Module):
    """A linear layer of the mean over the tokens, which is the mean of the layer's outputs: (B, N, D) -> (B, 1, D2).

    Args:
        layer: linear layer, (B, 1, D) -> (B, 1, D2).
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B 1 D2"]:
        return self.layer(x.mean(dim=1, keepdim=True))
