"""Labels of the universal task: those of each of its tasks, by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..data.samples import LabelKind, Sample
from ..data.targets import Targets

KINDS: dict[str, LabelKind] = {
    "classification": "classes",
    "detection": "boxes",
    "segmentation": "maps",
    "depth": "maps",
}
"""Name of a task -> what its labels are."""


@dataclass(frozen=True, slots=True)
class UniversalReaders:
    """Index -> targets of a sample, by task."""

    readers: tuple[tuple[str, Targets], ...]

    def __call__(self, index: int) -> dict[str, Any]:
        return {name: reader(index) for name, reader in self.readers}


@dataclass(frozen=True, slots=True)
class UniversalTargets:
    """Targets of several samples, as each task has them."""

    parts: Mapping[str, Any]

    def row(self, index: int) -> "UniversalTargets":
        """The targets of one sample."""
        return UniversalTargets({name: target[index] for name, target in self.parts.items()})


def samples_of(task: str, samples: Sequence[Sample]) -> list[Sample]:
    """The samples with their labels for one task."""
    return [replace(sample, labels=dict(sample.labels)[task]) for sample in samples]
