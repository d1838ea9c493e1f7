"""What a model or a data set is for, as data: a registered task's name and its options, which `tasks` resolves."""

from dataclasses import dataclass
from typing import Any

from .errors import VitrailError


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """The name of a task and its options, such as ("classification", labels="many").

    Models, sources and checkpoints hold one; only `vitrail.tasks` knows what the names mean. Hashable and equal by
    value.

    Attributes:
        name: "classification", "regression", "embedding", or one of another package.
        options: (name, plain JSON value) pairs in alphabetical order; what is left out has the task's own default.
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, name: str, **options: Any) -> "TaskSpec":
        """TaskSpec.of("classification", labels="many")."""
        return cls(name, tuple(sorted((key, _frozen(value)) for key, value in options.items())))

    @classmethod
    def parse(cls, text: str) -> "TaskSpec":
        """A spec as a command line writes it: "regression", "classification:labels=many".

        Raises:
            VitrailError: an option without a value.
        """
        name, _, rest = text.partition(":")
        pairs = [part.partition("=") for part in rest.split(",") if part]
        for key, equals, _value in pairs:
            if not equals:
                raise VitrailError(f"option {key!r} of task {text!r} has no value: write {name}:{key}=VALUE")
        return cls.of(name, **{key: value for key, _, value in pairs})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TaskSpec":
        """The inverse of `to_dict`."""
        rest = dict(values)
        return cls.of(rest.pop("name"), **rest)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: {"name": "classification", "labels": "many"}."""
        return {"name": self.name, **dict(self.options)}

    def __str__(self) -> str:
        options = ",".join(f"{key}={value}" for key, value in self.options)
        return f"{self.name}:{options}" if options else self.name


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


CLASSIFICATION = TaskSpec("classification")
"""One of several classes for each image: what a model with a classifier is for, unless its config says otherwise."""

MULTI_LABEL = TaskSpec.of("classification", labels="many")
"""Any number of classes for each image."""

EMBEDDING = TaskSpec("embedding")
"""A vector for each image: what a model without classes gives."""

REGRESSION = TaskSpec("regression")
"""One or several numbers for each image."""
