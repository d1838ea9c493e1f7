"""Rewrites: changes of a built model that a checkpoint records, so that loading can repeat them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Rewrite(ABC):
    """Base class of a rewrite, a function that changes a model. Its fields are its options: JSON values or tuples.

    It is called on models with weights and on models on the meta device; the resulting modules must not depend on
    the values of the weights. A tensor that changes is replaced by a new one, as the old one may belong to another
    model too.
    """

    __slots__ = ()

    @abstractmethod
    def __call__(self, model: nn.Module) -> None:
        """Change the modules and tensors of a model in place.

        Raises:
            VitrailError: the model has nothing that this rewrite changes.
        """

    def recorded(self, earlier: tuple["Rewrite", ...]) -> tuple["Rewrite", ...]:
        """The list of rewrites that gives the changed model, from the list of those before this one."""
        return (*earlier, self)
