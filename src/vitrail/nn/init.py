"""Initial weights as published."""

from torch import nn


def init_vit(module: nn.Module) -> None:
    """For `apply`: truncated normal with deviation 0.02 for linear weights, zero biases, as DeiT and timm do."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
