"""Blocks and the encoder."""

from collections.abc import Iterable
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from .tokens import Tokens


class Block(nn.Sequential):
    """A sequence of named residuals, Tokens -> Tokens: ViT has `attention` and `mlp`."""

    def __init__(self, **residuals: nn.Module) -> None:
        super().__init__()
        for name, residual in residuals.items():
            self.add_module(name, residual)


class Encoder(nn.Module):
    """Blocks, then a norm on the sequence. Tokens -> Tokens."""

    def __init__(self, blocks: Iterable[nn.Module], norm: nn.Module | None = None) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.norm = norm or nn.Identity()

    def forward(self, tokens: Tokens) -> Tokens:
        tokens = self.blocks(tokens)
        return tokens.with_x(self.norm(tokens.x))


def checkpoint_activations(model: nn.Module) -> None:
    """Keep no inner activations of the blocks; compute them again in the backward pass (Chen et al., 2016).

    Works in place on every `Encoder` inside the model; names and weights stay as they are.
    """
    for encoder in [module for module in model.modules() if isinstance(module, Encoder)]:
        for block in encoder.blocks:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
