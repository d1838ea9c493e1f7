"""Learning from labels."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.loader import Batch
from .loss import Loss


class Supervised:
    """Cross entropy for single-label classes, binary cross entropy for multi-label: (model, batch, step) -> Loss.

    Args:
        task: "single" (targets are distributions over the classes) or "multi" (targets are independent zeros and ones).
        label_smoothing: the part of each target spread over all classes (Szegedy et al., 2016, section 7).
        class_weights: (K,) a factor for each class, for classes of unequal size; see `balanced_weights`.
    """

    def __init__(
        self,
        task: Literal["single", "multi"],
        *,
        label_smoothing: float = 0.0,
        class_weights: Tensor | None = None,
    ) -> None:
        self.cross_entropy = task == "single"
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights

    def __call__(self, model: nn.Module, batch: Batch, step: int) -> Loss:
        logits = model(batch.pixels).float()
        weights = None if self.class_weights is None else self.class_weights.to(logits.device)
        if self.cross_entropy:
            return Loss(F.cross_entropy(logits, batch.targets, weight=weights, label_smoothing=self.label_smoothing))
        targets = batch.targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        return Loss(F.binary_cross_entropy_with_logits(logits, targets, weight=weights))


def balanced_weights(counts: Sequence[int], power: float) -> Tensor | None:
    """A factor for each class: its frequency to the power of -`power`, with mean 1 over the samples; None for power 0.

    Power 1 makes all classes count the same, 0.5 goes half the way.
    """
    if power == 0:
        return None
    sizes = torch.tensor(counts, dtype=torch.float64).clamp(min=1)
    weights = sizes**-power
    return (weights * sizes.sum() / (weights * sizes).sum()).float()
