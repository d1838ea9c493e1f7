"""Targets of samples: functions index -> target."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor
from torch.utils._pytree import tree_map_only

Targets = Callable[[int], Any]
"""Index of a sample -> its target, a tensor or pytree of tensors; picklable, for worker processes. Raises BadImage."""


@runtime_checkable
class Ragged(Protocol):
    """Part of a target whose size differs between samples, such as the objects of an image; a leaf of pytrees."""

    @classmethod
    def batch(cls, items: Sequence[Any]) -> Any:
        """Join those of several samples to a pytree of tensors (B, ...)."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Targets in memory: index -> row of each tensor of a pytree."""

    values: Any

    def __call__(self, index: int) -> Any:
        return tree_map_only(Tensor, lambda values: values[index], self.values)
