"""Finds the weights inside what training scripts save: nested dictionaries, averaged copies, options."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

# In timm's order: averaged weights before the raw ones, a teacher before its student.
ENVELOPES = (
    *("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema", "teacher", "target_encoder"),
    *("state_dict", "model", "model_state_dict", "model_state", "model_weights", "net", "network"),
    *("net_state_dict", "weights", "params", "module", "student", "backbone", "encoder", "classifier"),
)
"""Names under which scripts keep a state dict, the preferred first."""
_DEEPEST = 6


def unwrap(document: Any) -> tuple[dict[str, Any], list[str]]:
    """The state dict inside nested dictionaries, name -> tensor or array, and sentences on a choice among several.

    A dictionary with tensors is the state dict, unless a name of `ENVELOPES` in it has one too.
    """
    notes: list[str] = []
    for _ in range(_DEEPEST):
        inside = _inside(document)
        if not inside:
            break
        chosen = next((name for name in ENVELOPES if name in inside), inside[0])
        others = [name for name in inside if name != chosen]
        if others:
            notes.append(f"weights read from {chosen!r}, one of {', '.join(sorted(map(repr, inside)))}")
        document = document[chosen]
    values = document.items() if isinstance(document, Mapping) else ()
    return {str(name): value for name, value in values if isinstance(value, (Tensor, np.ndarray))}, notes


def _inside(document: Any) -> list[str]:
    """Names of the entries that hold weights themselves; unknown names count only if nothing else holds weights."""
    if not isinstance(document, Mapping):
        return []
    holding = [name for name, value in document.items() if isinstance(value, Mapping) and _holds_weights(value)]
    known = [name for name in holding if name in ENVELOPES]
    if known:
        return known
    return holding if len(holding) == 1 and not _has_weights(document) else []


def _has_weights(values: Mapping[Any, Any]) -> bool:
    return any(isinstance(name, str) and isinstance(value, (Tensor, np.ndarray)) for name, value in values.items())


def _holds_weights(values: Mapping[Any, Any]) -> bool:
    level = [values]
    for _ in range(_DEEPEST + 1):
        if any(map(_has_weights, level)):
            return True
        # Each dictionary once: a pickle can hold the same one a thousand times on every level.
        inner = {id(value): value for each in level for value in each.values() if isinstance(value, Mapping)}
        level = list(inner.values())
    return False
