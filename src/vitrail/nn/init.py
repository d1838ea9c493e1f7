"""Initial weights as published."""

import math

from torch import nn


def init_vit(module: nn.Module) -> None:
    """For `apply`: truncated normal with deviation 0.02 for linear weights, zero biases, as DeiT and timm do."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def init_convolutions(module: nn.Module) -> None:
    """For `apply`: normal with variance 2 / fan-out for filters, zero biases, as PVT v2 and SegFormer do."""
    if isinstance(module, nn.Conv2d):
        area = module.kernel_size[0] * module.kernel_size[1]
        nn.init.normal_(module.weight, std=math.sqrt(2 * module.groups / (area * module.out_channels)))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
