"""Agreement of two ways to run a model: the relative difference of their outputs."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..errors import VitrailError
from ..machine.devices import FLOAT8, precision_name
from ..nn import BaseVisionModel

TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 3e-2, torch.float16: 3e-2, FLOAT8: 0.25}
"""Number format of the matrix products -> largest difference from PyTorch's float32, see `difference`."""


def difference(found: Any, expected: Any) -> float:
    """Largest relative difference of the tensors of two pytrees: ‖found - expected‖ / ‖expected‖.

    Infinite if a value of only one of both is not finite, or if shapes differ.
    """
    pairs = zip(tensors(found), tensors(expected), strict=True)
    return max((_relative(mine.double(), other.double()) for mine, other in pairs), default=0.0)


def tensors(output: Any) -> list[Tensor]:
    """The tensors of a pytree, in order."""
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]


def _relative(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        return float("inf")
    if not torch.isfinite(expected).all() or not torch.isfinite(found).all():
        return 0.0 if torch.equal(found.nan_to_num(), expected.nan_to_num()) else float("inf")
    least = torch.finfo(torch.float32).tiny
    return float((found - expected).norm() / expected.norm().clamp(min=least))


def require_agreement(engine: str, precision: torch.dtype, found: Any, expected: Any) -> None:
    """Raise VitrailError if an engine's outputs differ from PyTorch's by more than `TOLERANCES`."""
    apart, most = difference(found, expected), TOLERANCES[precision]
    if apart > most:
        name, other = precision_name(precision), "bfloat16" if precision == FLOAT8 else "float32, or --engine torch"
        raise VitrailError(
            f"engine {engine} with {name} differs from PyTorch by {apart:.1e}, more than {most:g}: "
            f"use --precision {other}"
        )


def example_pixels(model: nn.Module, batch: int = 2) -> Tensor:
    """Random pixels for a model, or for a module that has one inside; the same in every call.

    Raises:
        VitrailError: there is no model of vitrail inside, or it takes more than pixels.
    """
    inside = next((part for part in model.modules() if isinstance(part, BaseVisionModel)), None)
    given: Sequence[Tensor] = () if inside is None else inside.config.example_inputs(batch)
    if len(given) != 1:
        raise VitrailError("this engine runs models of vitrail that take images alone: use --engine torch")
    return torch.randn(given[0].shape, generator=torch.Generator().manual_seed(0))
