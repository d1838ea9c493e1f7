"""Losses of classifiers, (logits (B, K), targets (B, K)) -> scalar."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class CrossEntropy(nn.Module):
    """Cross entropy of exclusive classes; targets are distributions over them.

    Args:
        label_smoothing: fraction of each target that is spread over all classes (Szegedy et al., 2016, section 7).
        class_weights: (K,) factor of each class's loss, for imbalanced classes; see `balanced_weights`.
        shift: (K,) added to the logits in training, see `logit_shift`; None: nothing.
    """

    class_weights: Tensor | None
    shift: Tensor | None

    def __init__(
        self, *, label_smoothing: float = 0.0, class_weights: Tensor | None = None, shift: Tensor | None = None
    ) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        # Not in the state: a resumed run computes them again from the data.
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.register_buffer("shift", shift, persistent=False)

    def forward(self, logits: Float[Tensor, "B K"], targets: Float[Tensor, "B K"]) -> Float[Tensor, ""]:
        if self.shift is not None:
            logits = logits + self.shift
        return F.cross_entropy(logits, targets, weight=self.class_weights, label_smoothing=self.label_smoothing)


class BinaryCrossEntropy(nn.Module):
    """Binary cross entropy of each class, the mean over classes and images.

    Args:
        label_smoothing: fraction of each target that is drawn to `smoothed`.
        smoothed: target of a class without information: 1/2 for independent classes, 1 / K for exclusive ones.
        class_weights: (K,) factor of each class's loss.
        any_label: targets above 0 count as 1: of mixed images all classes are present (Wightman et al., 2021, "ResNet
            strikes back", section 2.1; DeiT III).
    """

    class_weights: Tensor | None

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        smoothed: float = 0.5,
        class_weights: Tensor | None = None,
        any_label: bool = False,
    ) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.smoothed = smoothed
        self.any_label = any_label
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, logits: Float[Tensor, "B K"], targets: Float[Tensor, "B K"]) -> Float[Tensor, ""]:
        if self.any_label:
            targets = targets.gt(0).to(targets.dtype)
        smooth = targets * (1 - self.label_smoothing) + self.label_smoothing * self.smoothed
        return F.binary_cross_entropy_with_logits(logits, smooth, weight=self.class_weights)


class AsymmetricLoss(nn.Module):
    """Binary cross entropy that gives easy negatives little or no weight (Ridnik et al., 2021, equations 4 to 7).

    The mean over classes and images, where the paper's code has the sum.

    Args:
        gamma_positive, gamma_negative: exponents of the focus on hard positives and negatives.
        margin: probability below which a negative has no loss.
        class_weights: (K,) factor of each class's loss.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        *,
        gamma_positive: float = 0.0,
        gamma_negative: float = 4.0,
        margin: float = 0.05,
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.gamma_positive = gamma_positive
        self.gamma_negative = gamma_negative
        self.margin = margin
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, logits: Float[Tensor, "B K"], targets: Float[Tensor, "B K"]) -> Float[Tensor, ""]:
        probability = logits.sigmoid()
        shifted = (probability - self.margin).clamp(min=0)
        positive = targets * (1 - probability) ** self.gamma_positive * F.logsigmoid(logits)
        negative = (1 - targets) * shifted**self.gamma_negative * torch.log1p(-shifted.clamp(max=1 - 1e-7))
        loss = -(positive + negative)
        return (loss if self.class_weights is None else loss * self.class_weights).mean()


def balanced_weights(counts: Sequence[int], power: float) -> Tensor | None:
    """Class weights (K,): frequency to the power of -`power`, with mean 1 over the samples; None for power 0.

    With power 1 all classes count the same.
    """
    if power == 0:
        return None
    sizes = torch.tensor(counts, dtype=torch.float64).clamp(min=1)
    weights = sizes**-power
    return (weights * sizes.sum() / (weights * sizes).sum()).float()


def logit_shift(counts: Sequence[int], tau: float) -> Tensor | None:
    """The logarithm of each class's frequency times `tau`, (K,), that training adds to the logits; None for 0.

    Without it, in evaluation, the classes are predicted as if all were equally frequent (Menon et al., 2021, "Long-tail
    learning via logit adjustment", equation 10).
    """
    if tau == 0:
        return None
    sizes = torch.tensor(counts, dtype=torch.float64).clamp(min=1)
    return (tau * (sizes / sizes.sum()).log()).float()


def sampling_weights(targets: Float[Tensor, "n K"]) -> Float[Tensor, " n"]:
    """Expected number of times that an epoch of balanced classes has each sample, with mean 1.

    A sample with several labels counts for the rarest of them; samples without a label are a class of their own.
    """
    present = targets.gt(0).double()
    classes = torch.cat([present, (present.sum(dim=1, keepdim=True) == 0).double()], dim=1)
    rarest = (classes / classes.sum(dim=0).clamp(min=1)).amax(dim=1)
    return rarest * (len(rarest) / rarest.sum())
