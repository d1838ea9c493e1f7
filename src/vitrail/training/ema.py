"""Exponential moving average of the weights."""

import copy

import torch
from torch import nn

from ..models.fields import ModelConfig
from ..nn import BaseVisionModel


class EMA:
    """A copy of the model whose weights follow the model's slowly (Polyak & Juditsky, 1992).

    After t steps the decay is min(decay, (1 + t) / (10 + t)), so that the initial weights are soon forgotten.
    Buffers (statistics of batch norms) are copied.
    """

    def __init__(self, model: BaseVisionModel[ModelConfig], decay: float) -> None:
        self.model = copy.deepcopy(model)
        self.model.eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Update the average with the weights after step `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        mine, theirs = ([param.detach() for param in each.parameters()] for each in (self.model, model))
        torch._foreach_lerp_(mine, theirs, 1 - decay)
        for kept, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            kept.copy_(buffer)
