"""Card: what the configuration files beside another library's weights state."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import plain
from ..errors import VitrailError
from ..models.fields import ModelConfig


@dataclass(frozen=True, slots=True)
class Card:
    """Information about weights from configuration files.

    Attributes:
        architecture: our variant, if the card names one.
        config: complete config of the model, if the card describes it.
        facts: known config fields.
        preprocess: known fields of `Preprocess`.
        class_names: names in the order of the outputs; empty if unknown.
        license, notes: for `Checkpoint.info`.
    """

    architecture: str | None = None
    config: ModelConfig | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    license: str = ""
    notes: tuple[str, ...] = ()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; VitrailError if the file is anything else."""
    try:
        document = plain.read_json(path)
    except plain.Unreadable as fault:
        raise VitrailError(f"{path} cannot be read: {fault}; get the file again") from None
    if not isinstance(document, dict):
        raise VitrailError(f"{path} is not a JSON object: get the file again")
    return document


def side_or_pair(size: Any) -> int | tuple[int, int]:
    """A size as the configs have it: one number if both sides are equal."""
    if isinstance(size, int):
        return size
    return size[0] if size[0] == size[1] else (size[0], size[1])


def known_only(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are not None."""
    return {key: value for key, value in values.items() if value is not None}


def sides(size: tuple[int, ...]) -> str:
    """A size for messages: 256×128."""
    return "×".join(map(str, size))
