"""TaskSpec: the name and options of a task as plain data, which `tasks` resolves."""

from dataclasses import dataclass
from typing import Any

from .errors import VitrailError
from .plain import short

NAMES = "_names"
"""End of the names of options that are names of outputs."""


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """Name and options of a task, such as ("classification", labels="many").

    Models, sources and checkpoints have one; `vitrail.tasks` builds the task of it. Hashable and compared by
    value.

    Attributes:
        name: "classification", "regression", "embedding", or a task of another package.
        options: (name, JSON value) pairs in alphabetical order; missing ones have the task's defaults. One called
            `*_names` has the names of further outputs, of a model for several tasks.
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, name: str, **options: Any) -> "TaskSpec":
        """Build a spec from keywords: `TaskSpec.of("classification", labels="many")`."""
        return cls(name, tuple(sorted((key, _frozen(value)) for key, value in options.items())))

    @classmethod
    def parse(cls, text: str) -> "TaskSpec":
        """Parse a spec from a command line: "regression", "classification:labels=many", "regression:level=0.8".

        Raises:
            VitrailError: an option without a value.
        """
        name, _, rest = text.partition(":")
        pairs = [part.partition("=") for part in rest.split(",") if part]
        for key, equals, _value in pairs:
            if not equals:
                raise VitrailError(f"option {key!r} of task {text!r} has no value: write {name}:{key}=VALUE")
        return cls.of(name, **{key: _number_or_text(value) for key, _, value in pairs})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TaskSpec":
        """Inverse of `to_dict`.

        Raises:
            VitrailError: not a mapping with a name, or an option that is not a plain value or a list of them.
        """
        if not isinstance(values, dict) or not _is_word(values.get("name")):
            raise VitrailError(f"the task is {short(values)}: it needs a name and options, such as {CLASSIFICATION}")
        options = {key: _frozen(value) for key, value in values.items() if key != "name"}
        for key, value in options.items():
            if not isinstance(key, str) or not _is_plain(value):
                raise VitrailError(
                    f"option {short(key)} of task {values['name'][:80]} is {short(value)}: use text, numbers and lists"
                )
        return cls(values["name"], tuple(sorted(options.items())))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values: {"name": "classification", "labels": "many"}."""
        return {"name": self.name, **dict(self.options)}

    def without(self, *names: str) -> "TaskSpec":
        """The spec without options of these names."""
        return TaskSpec(self.name, tuple(option for option in self.options if option[0] not in names))

    def __str__(self) -> str:
        options = ",".join(f"{key}={value}" for key, value in self.options)
        return f"{self.name}:{options}" if options else self.name


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _number_or_text(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= 100


def _is_plain(value: Any) -> bool:
    return all(map(_is_plain, value)) if isinstance(value, tuple) else isinstance(value, str | int | float | None)


CLASSIFICATION = TaskSpec("classification")
"""Classification with one class for each image, the default task of models with a classifier."""

MULTI_LABEL = TaskSpec.of("classification", labels="many")
"""Classification with any number of classes for each image."""

EMBEDDING = TaskSpec("embedding")
"""A vector for each image, the task of models without classes."""

REGRESSION = TaskSpec("regression")
"""One or several numbers for each image."""

DETECTION = TaskSpec("detection")
"""Boxes of objects with their classes."""

SEGMENTATION = TaskSpec("segmentation")
"""A class for each pixel."""

DEPTH = TaskSpec("depth")
"""A depth for each pixel."""

VIDEO = TaskSpec("video")
"""Classification of clips, with one class for each."""
