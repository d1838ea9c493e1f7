"""Blocks, stages and encoders."""

from collections.abc import Iterable

from jaxtyping import Float
from torch import Tensor, nn

from .blocks import Blocks, recompute
from .heads.decoder import QueryDecoder
from .tokens import Tokens


class Block(nn.Sequential):
    """A sequence of named residuals, Tokens -> Tokens: ViT has `attention` and `mlp`."""

    def __init__(self, **residuals: nn.Module) -> None:
        super().__init__()
        for name, residual in residuals.items():
            self.add_module(name, residual)


class PerToken(nn.Module):
    """A layer applied to each token, such as a norm between blocks: Tokens -> Tokens."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, tokens: Tokens) -> Tokens:
        return tokens.with_x(self.layer(tokens.x))


class Stage(nn.Module):
    """Stage of a pyramid: a reduction to its grid and width, blocks, a norm. Tokens -> Tokens.

    Stages are used like blocks: an `Encoder` of four stages is a pyramid.

    Args:
        blocks: Tokens -> Tokens, of the stage's width.
        reduce: reduction of the previous stage's tokens, Tokens -> Tokens; None for the first stage.
        norm: norm after the blocks, (B, N, D) -> (B, N, D).
    """

    def __init__(
        self, blocks: Iterable[nn.Module], *, reduce: nn.Module | None = None, norm: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.reduce = reduce or nn.Identity()
        self.blocks = Blocks(*blocks)
        self.norm = norm or nn.Identity()

    def forward(self, tokens: Tokens) -> Tokens:
        tokens = self.blocks(self.reduce(tokens))
        return tokens.with_x(self.norm(tokens.x))


class Encoder(nn.Module):
    """Blocks or stages, then a norm on the sequence. Tokens -> Tokens."""

    def __init__(self, blocks: Iterable[nn.Module], norm: nn.Module | None = None) -> None:
        super().__init__()
        self.blocks = Blocks(*blocks)
        self.norm = norm or nn.Identity()

    def forward(self, tokens: Tokens) -> Tokens:
        tokens = self.blocks(tokens)
        return tokens.with_x(self.norm(tokens.x))


class BiasedBlock(nn.Module):
    """Attention and MLP with a bias of the scores that all blocks share: (Tokens, bias (1, h, N, N)) -> Tokens."""

    def __init__(self, attention: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.attention = attention
        self.mlp = mlp

    def forward(self, tokens: Tokens, bias: Float[Tensor, "1 h N N"]) -> Tokens:
        return self.mlp(self.attention(tokens, bias))


class SharedBiasEncoder(nn.Module):
    """Blocks that add one shared bias to their attention scores, then a norm. Tokens -> Tokens.

    Args:
        blocks: (Tokens, bias) -> Tokens, see `BiasedBlock`.
        bias: Tokens -> (h, N, N), such as one table of relative positions.
        norm: norm after the blocks.
    """

    def __init__(self, blocks: Iterable[nn.Module], bias: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.bias = bias
        self.blocks = Blocks(*blocks)
        self.norm = norm

    def forward(self, tokens: Tokens) -> Tokens:
        bias = self.bias(tokens).unsqueeze(0)
        for block in self.blocks:
            tokens = self.blocks.run(block, tokens, bias)
        return tokens.with_x(self.norm(tokens.x))


class Levels(nn.Module):
    """Encoder that returns the outputs of several blocks or stages: Tokens -> tuple of Tokens, in order.

    For dense heads.

    Args:
        blocks: Tokens -> Tokens, blocks or stages.
        after: indices, from 0, of the blocks whose outputs are returned.
        norm: norm of each returned sequence.
    """

    def __init__(self, blocks: Iterable[nn.Module], after: tuple[int, ...], norm: nn.Module | None = None) -> None:
        super().__init__()
        self.blocks = Blocks(*blocks)
        if not set(after) <= set(range(len(self.blocks))):
            raise ValueError(
                f"after {after} has indices of missing blocks: there are {len(self.blocks)}, counted from 0"
            )
        self.after = after
        self.norm = norm or nn.Identity()

    def forward(self, tokens: Tokens) -> tuple[Tokens, ...]:
        seen = []
        for index, block in enumerate(self.blocks):
            tokens = self.blocks.run(block, tokens)
            if index in self.after:
                seen.append(tokens.with_x(self.norm(tokens.x)))
        return tuple(seen)


HOLDERS = (Encoder, SharedBiasEncoder, Levels, Stage, QueryDecoder)
"""Modules with `blocks`."""


def checkpoint_activations(model: nn.Module) -> None:
    """Store only the inputs of blocks, and recompute activations in the backward pass (Chen et al., 2016).

    Acts in place on every encoder, stage and decoder of the model; names and weights do not change.
    """
    for module in model.modules():
        if isinstance(module, Blocks) and not any(isinstance(block, Stage) for block in module):
            module.run = recompute
