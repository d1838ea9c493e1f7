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


def init_convnext(module: nn.Module) -> None:
    """For `apply`: truncated normal with deviation 0.02 for linear layers and convolutions, zero biases."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=0.02)
        init_zero_bias(module)


def init_lecun(module: nn.Module) -> None:
    """For `apply`: truncated normal with variance 1 / inputs, and zero biases, as Flax does."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        # A normal distribution cut at two deviations has 0.8796 of its deviation left.
        std = (module.weight[0].numel() ** -0.5) / 0.8796256610342398
        nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
        init_zero_bias(module)


def init_zero(module: nn.Module) -> None:
    """For `apply`: linear layers that give nothing at first, such as classifiers that start without an opinion."""
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.weight)
        init_zero_bias(module)


def init_zero_bias(module: nn.Linear | nn.Conv2d) -> None:
    """No offset at first, where the layer has one."""
    if module.bias is not None:
        nn.init.zeros_(module.bias)
