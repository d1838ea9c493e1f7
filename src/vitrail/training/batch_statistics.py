"""Batch norm's mean and variance, computed anew for the weights that are evaluated and saved."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..models.fields import ModelConfig
from ..nn import BaseVisionModel, DualEncoder

STATISTICS_IMAGES = 256
"""Training images that the statistics are computed on."""


def norms_with_statistics(model: nn.Module) -> dict[str, _BatchNorm]:
    """Batch norms of a model that keep running statistics, by name."""
    modules = model.named_modules()
    return {name: each for name, each in modules if isinstance(each, _BatchNorm) and each.track_running_stats}


def updated_norms(model: nn.Module) -> list[str]:
    """Names of the batch norms whose running statistics training updates: those in training mode."""
    return [name for name, norm in norms_with_statistics(model).items() if norm.training]


def with_statistics(
    model: BaseVisionModel[ModelConfig], norms: Iterable[str], batches: Iterable[Tensor]
) -> BaseVisionModel[ModelConfig]:
    """Return a copy of a model in evaluation mode whose batch norms have the statistics of its own weights.

    The running averages of training belong to earlier weights: after few steps they are still near their initial
    values, and the average of the weights (EMA) never saw them. The mean over the batches replaces them.

    Args:
        model: unchanged.
        norms: names of the batch norms.
        batches: pixels (B, C, H, W) of training images on the model's device.
    """
    found = copy.deepcopy(model).eval()
    copies, originals = norms_with_statistics(found), norms_with_statistics(model)
    for name in norms:
        norm = copies[name]
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    images = found.image if isinstance(found, DualEncoder) else found
    with torch.no_grad():
        for pixels in batches:
            images(pixels)
    for name in norms:
        copies[name].momentum = originals[name].momentum
    return found.eval()
