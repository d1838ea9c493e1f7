"""Rewrites: changes of a built model that a checkpoint records, so that loading can make them again."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Rewrite(ABC):
    """A function model → model. Its fields are its options, plain JSON values or tuples of them.

    It is called on models with weights, and on the meta device, where the same modules must result whatever the values.
    """

    __slots__ = ()

    @abstractmethod
    def __call__(self, model: nn.Module) -> None:
        """Change the modules and tensors of a model in place.

        Raises:
            VitrailError: there is nothing in the model that this changes.
        """
