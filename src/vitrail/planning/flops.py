"""Floating-point operations of a forward pass, counted on the meta device without allocating memory."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ..checkpoint.build import blueprint
from ..models.fields import ModelConfig
from ..rewrites.base import Rewrite
from .depth import by_depth

TRAINING_STEP = 3
"""FLOPs of a training step, in units of a forward pass: the backward pass has two matrix products for each of it."""

# The CPU's fused attention is missing in PyTorch before 2.12.
_FORMULAS = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[
        torch.ops.aten._scaled_dot_product_flash_attention
    ],
    **flop_registry,
}


class FlopCount(TorchDispatchMode):
    """Counts the operations of matrix products, convolutions and attention; others are left out, as usual.

    A multiply and an add count as two. `total` is the count so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if formula := _FORMULAS.get(func.overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


@dataclass(frozen=True, slots=True)
class Count:
    """Number of parameters, and operations of a forward pass of one image."""

    parameters: int
    flops: int


def count(config: ModelConfig, rewrites: tuple[Rewrite, ...] = ()) -> Count:
    """Count parameters and FLOPs of a config; FLOPs are twice the multiply-adds that papers often call FLOPs.

    Args:
        config: the model.
        rewrites: applied to it, such as `MergeTokens(r=8)`.
    """

    def measure(config: ModelConfig) -> tuple[int, int]:
        return _count(config, rewrites)

    return Count(*by_depth(config, measure, least=1, rewrites=rewrites))


def _count(config: ModelConfig, rewrites: tuple[Rewrite, ...]) -> tuple[int, int]:
    model, most = blueprint(config, rewrites), config.densest()
    counted_model, inputs = blueprint(most, rewrites).eval(), most.example_inputs(1, device="meta")
    with torch.no_grad(), FlopCount() as counted:
        counted_model(*inputs)
    return sum(parameter.numel() for parameter in model.parameters()), counted.total
