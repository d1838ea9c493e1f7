"""Protocols of what follows a trainer: a recorder of its results, and a pace that keeps its time budget."""

from typing import TYPE_CHECKING, Any, Protocol

from ..models.fields import ModelConfig
from ..nn import BaseVisionModel
from .state import Counters

if TYPE_CHECKING:
    from .loop import Trainer


class Recorder(Protocol):
    """Receives the log, the best weights and the states of a trainer."""

    def record(self, row: dict[str, Any], counters: Counters) -> None:
        """Add a row to the metric log."""

    def keep_best(self, model: BaseVisionModel[ModelConfig], row: dict[str, Any]) -> None:
        """Save the weights that are the best so far."""

    def keep_state(self, trainer: "Trainer") -> None:
        """Save everything that is needed to resume the run."""


class Pace(Protocol):
    """Revises the plan of a trainer while it runs, to keep a time budget."""

    def stepped(self, trainer: "Trainer") -> None:
        """Called after each step."""

    def evaluated(self, trainer: "Trainer") -> None:
        """Called after an evaluation and its saves."""
