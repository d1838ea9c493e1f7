"""Sequences of blocks, run with or without recomputation of activations."""

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from .tokens import Tokens

Run = Callable[..., Any]
"""(block, *inputs) -> the block's output."""


def call(block: nn.Module, *inputs: Any) -> Any:
    """Run a block; autograd stores its activations."""
    return block(*inputs)


def recompute(block: nn.Module, *inputs: Any) -> Any:
    """Run a block, store its inputs only, and run it again in the backward pass (Chen et al., 2016)."""
    return checkpoint(block, *inputs, use_reentrant=False)


class Blocks(nn.Sequential):
    """A sequence of blocks: Tokens -> Tokens.

    Attributes:
        run: `call` or `recompute`; `checkpoint_activations` sets it.
    """

    def __init__(self, *blocks: Any) -> None:
        super().__init__(*blocks)
        self.run: Run = call

    def forward(self, tokens: Tokens) -> Tokens:
        for block in self:
            tokens = self.run(block, tokens)
        return tokens
