"""RandAugment and 3-Augment, drawn from torch's CPU generator."""

import torch
from jaxtyping import Shaped
from torch import Tensor

from .augment_ops import OPERATIONS, Canvas, Operation, gaussian_blur, grayscale, operation_names, solarize
from .randaugment_policy import RandAugmentPolicy
from .unit_range import in_unit_range

_BLUR = (0.1, 2.0)
"""Standard deviations of the blur in pixels, as in DINO and DeiT III at 224 pixels."""

_MIDDLE = 128 / 255
"""Threshold of solarization."""


class RandAugment:
    """RandAugment (Cubuk et al., 2020) as timm does it: each operation at a random level, and with a rate.

    Args:
        policy: strength and number of operations.
        mean: mean of each channel, which fills what comes from outside of the image.
        interpolation: of the geometric operations.
    """

    def __init__(self, policy: RandAugmentPolicy, mean: tuple[float, ...], interpolation: str) -> None:
        self.policy = policy
        self.mean = mean
        self.interpolation = interpolation
        self.names = operation_names(increasing=policy.increasing)

    def __call__(self, image: Shaped[Tensor, "*frames C H W"]) -> Shaped[Tensor, "*frames C H W"]:
        """Change an image, or all frames of a clip in the same way."""
        steps = self._drawn()
        if not steps:
            return image
        values, low, span = in_unit_range(image)
        canvas = Canvas(tuple((value - low) / span for value in self.mean), self.interpolation)
        frames = [_changed(frame, steps, canvas) for frame in (values if values.ndim == 4 else [values])]
        changed = torch.stack(frames) if values.ndim == 4 else frames[0]
        return changed if values is image else changed * span + low

    def _drawn(self) -> list[tuple[Operation, float]]:
        """Operations with their arguments, in order."""
        steps = []
        for index in torch.randint(len(self.names), (self.policy.count,)).tolist():
            if uniform(0.0, 1.0) > self.policy.rate:
                continue
            operation = OPERATIONS[self.names[index]]
            level = self._level()
            sign = -1 if operation.signed and uniform(0.0, 1.0) > 0.5 else 1
            steps.append((operation, operation.argument(level, sign)))
        return steps

    def _level(self) -> float:
        policy = self.policy
        if policy.deviation == float("inf"):
            level = uniform(0.0, policy.magnitude)
        elif policy.deviation:
            level = policy.magnitude + policy.deviation * torch.randn(()).item()
        else:
            level = policy.magnitude
        return max(0.0, min(level, policy.most))


def _changed(
    image: Shaped[Tensor, "C H W"], steps: list[tuple[Operation, float]], canvas: Canvas
) -> Shaped[Tensor, "C H W"]:
    for operation, argument in steps:
        image = operation.apply(image, argument, canvas)
    return image


class RandomGrayscale:
    """Grayscale with a rate; the image keeps its number of channels."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, image: Tensor) -> Tensor:
        return grayscale(image) if uniform(0.0, 1.0) < self.rate else image


class RandomSolarize:
    """Inversion of the values from the middle of the range on, with a rate; values are uint8 or in [0, 1]."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, image: Tensor) -> Tensor:
        return solarize(image, _MIDDLE) if uniform(0.0, 1.0) < self.rate else image


class RandomBlur:
    """Gaussian blur of a random width, with a rate."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, image: Tensor) -> Tensor:
        return gaussian_blur(image, uniform(*_BLUR)) if uniform(0.0, 1.0) < self.rate else image


class ThreeAugment:
    """One of grayscale, solarization and Gaussian blur (Touvron et al., 2022, "DeiT III", section 3.1)."""

    def __init__(self) -> None:
        self.choices = (RandomGrayscale(1.0), RandomSolarize(1.0), RandomBlur(1.0))

    def __call__(self, image: Tensor) -> Tensor:
        return self.choices[int(torch.randint(len(self.choices), ()))](image)


def uniform(low: float, high: float) -> float:
    """A random number from torch's CPU generator."""
    return low + (high - low) * torch.rand(()).item()
