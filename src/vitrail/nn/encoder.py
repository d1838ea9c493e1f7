"""Blocks, stages and the encoder."""

from collections.abc import Iterable
from functools import partial

from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .heads.decoder import QueryDecoder
from .tokens import Tokens


class Block(nn.Sequential):
    """A sequence of named residuals, Tokens -> Tokens: ViT has `attention` and `mlp`."""

    def __init__(self, **residuals: nn.Module) -> None:
        super().__init__()
        for name, residual in residuals.items():
            self.add_module(name, residual)


class PerToken(nn.Module):
    """A layer on each token by itself, such as a norm between blocks: Tokens -> Tokens."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, tokens: Tokens) -> Tokens:
        return tokens.with_x(self.layer(tokens.x))


class Stage(nn.Module):
    """A part of a pyramid: a reduction to its grid and width, blocks, a norm. Tokens -> Tokens.

    A stage stands where a block stands: an `Encoder` of four stages is a pyramid.

    Args:
        blocks: Tokens -> Tokens, of the stage's width.
        reduce: from the stage before, Tokens -> Tokens; nothing for the first.
        norm: on the sequence behind the blocks.
    """

    def __init__(
        self, blocks: Iterable[nn.Module], *, reduce: nn.Module | None = None, norm: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.reduce = reduce or nn.Identity()
        self.blocks = nn.Sequential(*blocks)
        self.norm = norm or nn.Identity()

    def forward(self, tokens: Tokens) -> Tokens:
        tokens = self.blocks(self.reduce(tokens))
        return tokens.with_x(self.norm(tokens.x))


class Encoder(nn.Module):
    """Blocks or stages, then a norm on the sequence. Tokens -> Tokens."""

    def __init__(self, blocks: Iterable[nn.Module], norm: nn.Module | None = None) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.norm = norm or nn.Identity()

    def forward(self, tokens: Tokens) -> Tokens:
        tokens = self.blocks(tokens)
        return tokens.with_x(self.norm(tokens.x))


class BiasedBlock(nn.Module):
    """A block whose bias comes from elsewhere: (Tokens, what is added to the scores) -> Tokens."""

    def __init__(self, attention: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.attention = attention
        self.mlp = mlp

    def forward(self, tokens: Tokens, bias: Float[Tensor, "1 h N N"]) -> Tokens:
        return self.mlp(self.attention(tokens, bias))


class SharedBiasEncoder(nn.Module):
    """Blocks that all add the same to their scores, then a norm on the sequence. Tokens -> Tokens.

    Args:
        blocks: (Tokens, bias) -> Tokens, see `BiasedBlock`.
        bias: Tokens -> (h, N, N), such as one table of relative positions.
        norm: on the sequence behind the blocks.
    """

    def __init__(self, blocks: Iterable[nn.Module], bias: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.bias = bias
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm

    def forward(self, tokens: Tokens) -> Tokens:
        bias = self.bias(tokens).unsqueeze(0)
        for block in self.blocks:
            tokens = block(tokens, bias)
        return tokens.with_x(self.norm(tokens.x))


class Levels(nn.Module):
    """An encoder that gives what its blocks (or stages) `after` gave: Tokens -> a tuple of Tokens, in their order.

    What dense heads look at. `norm` is applied to each of them.
    """

    def __init__(self, blocks: Iterable[nn.Module], after: tuple[int, ...], norm: nn.Module | None = None) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        if not set(after) <= set(range(len(self.blocks))):
            raise ValueError(f"after {after} names blocks that are not there: there are {len(self.blocks)}, from 0")
        self.after = after
        self.norm = norm or nn.Identity()

    def forward(self, tokens: Tokens) -> tuple[Tokens, ...]:
        seen = []
        for index, block in enumerate(self.blocks):
            tokens = block(tokens)
            if index in self.after:
                seen.append(tokens.with_x(self.norm(tokens.x)))
        return tuple(seen)


HOLDERS = (Encoder, SharedBiasEncoder, Levels, Stage, QueryDecoder)
"""What has `blocks`."""


def checkpoint_activations(model: nn.Module) -> None:
    """Keep no inner activations of the blocks; compute them again in the backward pass (Chen et al., 2016).

    Works in place on every encoder, stage and decoder inside the model; names and weights stay as they are.
    """
    for holder in [module for module in model.modules() if isinstance(module, HOLDERS)]:
        for block in holder.blocks:
            if not isinstance(block, Stage):
                block.forward = partial(checkpoint, block.forward, use_reentrant=False)
