"""What a config.json has to say for its weights to be those that we compute with."""

from collections.abc import Mapping
from typing import Any

from ...errors import VitrailError


def expect(card: Mapping[str, Any], **values: Any) -> None:
    """Raise VitrailError where a field is there and has another value."""
    for name, value in values.items():
        if card.get(name, value) != value:
            raise VitrailError(f"these weights have {name} {card[name]!r}: read are those with {value!r}")
