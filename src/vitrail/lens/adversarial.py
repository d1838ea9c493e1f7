"""Adversarial attacks: FGSM and PGD, with changes of at most ε for each value.

All functions take images in [0, 1], before normalisation, as in publications of ε; `logits_of` normalises.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import VitrailError

Images = Float[Tensor, "B C H W"]
Logits = Callable[[Images], Float[Tensor, "B K"]]
"""Differentiable function, images in [0, 1] -> logits, in evaluation mode."""


def fgsm(logits_of: Logits, images: Images, labels: Int[Tensor, " B"], epsilon: float) -> Images:
    """One step of size `epsilon` along the sign of the loss's gradient.

    Goodfellow et al. (2015), "Explaining and harnessing adversarial examples", section 4.

    Args:
        logits_of: normalisation followed by the model.
        images: from 0 to 1.
        labels: true classes.
        epsilon: largest change of a value, on the scale of the images, such as 4 / 255.

    Raises:
        VitrailError: images outside [0, 1], or a negative epsilon.
    """
    _check(images, epsilon)
    return (images + epsilon * _uphill(logits_of, images, labels)).clamp(0, 1)


def pgd(
    logits_of: Logits,
    images: Images,
    labels: Int[Tensor, " B"],
    epsilon: float,
    *,
    steps: int = 10,
    step_size: float | None = None,
    seed: int | None = 0,
) -> Images:
    """Projected gradient descent: many small steps, each projected to within `epsilon` of the image.

    Madry et al. (2018), "Towards deep learning models resistant to adversarial attacks", section 2.1; the norm is l∞.

    Args:
        step_size: size of each step; 2.5 ε / steps by default.
        seed: seed of the random start within ε; None starts at the image.

    Raises:
        VitrailError: as for `fgsm`, or fewer than 1 step.
    """
    _check(images, epsilon)
    if steps < 1:
        raise VitrailError(f"{steps} steps are too few: use 1 or more")
    step_size = 2.5 * epsilon / steps if step_size is None else step_size
    found = images.clone()
    if seed is not None:
        noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(seed))
        found = (found + (2 * noise.to(found) - 1) * epsilon).clamp(0, 1)
    for _ in range(steps):
        found = found + step_size * _uphill(logits_of, found, labels)
        found = torch.min(torch.max(found, images - epsilon), images + epsilon).clamp(0, 1)
    return found


def _uphill(logits_of: Logits, images: Images, labels: Tensor) -> Images:
    """Sign of the gradient of the loss with respect to the images; the gradients of parameters do not change."""
    given = images.detach().clone().requires_grad_()
    with torch.enable_grad():
        loss = F.cross_entropy(logits_of(given), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, given)
    return gradient.sign()


def _check(images: Images, epsilon: float) -> None:
    low, high = images.aminmax()
    if low < 0 or high > 1:
        raise VitrailError(
            f"images go from {low:.3g} to {high:.3g}: attacks work on images from 0 to 1, before normalisation"
        )
    if epsilon < 0:
        raise VitrailError(f"epsilon {epsilon} is negative: it is the most that a value may change, such as 4 / 255")
