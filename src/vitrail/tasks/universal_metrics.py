"""Metrics of several tasks of one model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .outcomes import Evaluation, Metrics


@dataclass(frozen=True, kw_only=True, slots=True)
class UniversalEvaluation(Evaluation):
    """Evaluation of several tasks. `loss` is the sum of theirs.

    Attributes:
        parts: evaluation of each task.
    """

    parts: Mapping[str, Evaluation]

    @property
    def quality(self) -> float:
        """Mean of the qualities of the tasks."""
        return sum(part.quality for part in self.parts.values()) / len(self.parts)

    def headline(self) -> dict[str, float]:
        found = {
            f"{task}_{name}": value for task, part in self.parts.items() for name, value in part.headline().items()
        }
        return {"loss": self.loss, **found}

    def facts(self) -> list[tuple[str, str]]:
        return [(f"{task}: {name}", value) for task, part in self.parts.items() for name, value in part.facts()]

    def cautions(self) -> list[str]:
        found = [sentence for part in self.parts.values() for sentence in part.cautions()]
        return list(dict.fromkeys(found))

    def card_metrics(self) -> dict[str, float]:
        return {
            f"{task}_{name}": value for task, part in self.parts.items() for name, value in part.card_metrics().items()
        }

    def to_dict(self) -> dict[str, Any]:
        parts = {task: part.to_dict() for task, part in self.parts.items()}
        return {"count": self.count, "loss": self.loss, "note": self.note, "parts": parts}


class UniversalMetrics(Metrics):
    """Metrics of each task.

    Args:
        parts: metrics of each task by its name.
    """

    def __init__(self, parts: Mapping[str, Metrics]) -> None:
        self.parts = parts

    def update(self, output: Any, target: Any) -> None:
        """Add the outputs of a batch, `TaskOutputs`, and the targets of each task."""
        for name, metrics in self.parts.items():
            metrics.update(getattr(output, name), target.parts[name])

    def compute(self) -> UniversalEvaluation:
        """Compute the evaluation of each task."""
        found = {name: metrics.compute() for name, metrics in self.parts.items()}
        return UniversalEvaluation(
            count=max(part.count for part in found.values()),
            loss=sum(part.loss for part in found.values()),
            parts=found,
        )

    def quality(self) -> float:
        return sum(metrics.quality() for metrics in self.parts.values()) / len(self.parts)
