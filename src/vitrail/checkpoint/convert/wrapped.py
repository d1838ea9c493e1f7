"""Removes the prefixes that wrappers and training scripts put before the names of a model's tensors."""

from collections import defaultdict
from collections.abc import Callable, Mapping

from torch import Tensor

_PREFERRED = ("ema", "ema_model", "model_ema", "teacher", "target_encoder", "model", "module", "net", "backbone")
"""Wrappers that are chosen if several hold the same model: averaged weights first, as in `envelope`."""
_DEEPEST = 4


def without_wrapper(
    state: Mapping[str, Tensor], known: Callable[[Mapping[str, Tensor]], int]
) -> tuple[dict[str, Tensor], list[str]]:
    """The state dict without a prefix such as "module.", "_orig_mod." or "model.", and sentences on what was left out.

    A prefix is removed if no fewer names are known without it, also where some layout knows the prefix itself.

    Args:
        state: their state dict.
        known: number of names of a state dict that some layout knows.
    """
    left_out: list[str] = []
    found, best = dict(state), known(state)
    for _ in range(_DEEPEST):
        inside = {prefix: part for prefix, part in _by_prefix(found).items() if 2 * len(part) > len(found) or best}
        scores = {prefix: known(part) for prefix, part in inside.items() if len(part) >= best}
        prefix = max(scores, key=lambda name: (scores[name], -_rank(name)), default="")
        if not prefix or scores[prefix] < best:
            break
        left_out += [name for name in found if not name.startswith(f"{prefix}.")]
        found, best = inside[prefix], scores[prefix]
    if not best:
        return dict(state), []
    if not left_out:
        return found, []
    shown = ", ".join(left_out[:3]) + (", …" if len(left_out) > 3 else "")
    return found, [f"left out, outside of the model that was read: {shown} ({len(left_out)} tensors)"]


def _by_prefix(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """First part of the names -> tensors, with the rest of their names."""
    inside: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in state.items():
        prefix, dot, rest = name.partition(".")
        if dot:
            inside[prefix][rest] = tensor
    return inside


def _rank(prefix: str) -> int:
    return _PREFERRED.index(prefix) if prefix in _PREFERRED else len(_PREFERRED)
