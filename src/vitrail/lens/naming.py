"""Which submodule a name or a number means."""

from collections.abc import Iterable

from torch import nn

from ..errors import VitrailError, nearest
from ..nn.attend import ATTENDS

LayerName = int | str
"""A layer by its number among the model's attentions (negative from the end), or by the name of a module."""


def find_module(model: nn.Module, name: str) -> str:
    """The full name of a submodule; a unique ending is enough: "blocks.3" for "encoder.blocks.3".

    Raises:
        VitrailError: no module has this name, or several end with it.
    """
    names = [full for full, _ in model.named_modules() if full]
    if name in names:
        return name
    found = [full for full in names if full.endswith(f".{name}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise VitrailError(f"{name!r} may be {' or '.join(found)}: write more of the name")
    raise VitrailError(f"the model has no module {name!r}: {nearest(name, names)}")


def attend_names(model: nn.Module) -> list[str]:
    """The full names of the model's `Attend` submodules, in the order that numbers the layers.

    Raises:
        VitrailError: the model has none.
    """
    names = [name for name, module in model.named_modules() if isinstance(module, ATTENDS)]
    if not names:
        raise VitrailError(
            f"{type(model).__name__} has no attention to observe: none of its modules is a "
            "vitrail.nn.attend.Attend; `features` captures the output of any module"
        )
    return names


def find_layer(model: nn.Module, layer: LayerName) -> int:
    """The number of a layer; a module's name stands for the one attention in or at it."""
    attends = attend_names(model)
    if isinstance(layer, int):
        if not -len(attends) <= layer < len(attends):
            raise VitrailError(f"there is no layer {layer}: the model has {len(attends)}, 0 to {len(attends) - 1}")
        return layer % len(attends)
    name = find_module(model, layer)
    inside = [index for index, full in enumerate(attends) if full == name or full.startswith(f"{name}.")]
    if len(inside) != 1:
        raise VitrailError(f"{name} holds {len(inside)} attentions, not one: {nearest(name, attends)}")
    return inside[0]


def find_layers(model: nn.Module, layers: LayerName | Iterable[LayerName] | None) -> list[int]:
    """The numbers of the asked layers, ascending; None means all."""
    if layers is None:
        return list(range(len(attend_names(model))))
    asked = [layers] if isinstance(layers, int | str) else layers
    return sorted({find_layer(model, layer) for layer in asked})
