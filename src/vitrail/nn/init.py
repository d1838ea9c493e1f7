"""Initial weights as published."""

from torch import nn


def init_vit(module: nn.Module) -> None:
    """Truncated normal with deviation 0.02 for linear weights, zero biases (DeiT's code, timm's default). Use with `apply`."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
