"""Resolution of names and numbers of layers, heads and tokens."""

from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from ..errors import VitrailError, nearest
from ..nn import ATTENDS
from .compiled import original
from .layout import Layout

LayerName = int | str
"""A layer by its number among the model's attentions (negative from the end), or by the name of a module."""

Rows = Literal["prefix"] | int | Iterable[int] | None
"""Tokens by number, the prefix tokens first (negative from the end); "prefix" for the prefix tokens; None for all."""


def find_module(model: nn.Module, name: str) -> str:
    """The full name of a submodule; a unique ending is enough: "blocks.3" for "encoder.blocks.3".

    Raises:
        VitrailError: no module has this name, or several end with it.
    """
    names = [full for full, _ in original(model).named_modules() if full]
    if name in names:
        return name
    found = [full for full in names if full.endswith(f".{name}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise VitrailError(f"{name!r} may be {' or '.join(found)}: write more of the name")
    raise VitrailError(f"the model has no module {name!r}: {nearest(name, names)}")


def attends_of(model: nn.Module) -> list[str]:
    """The full names of the model's `Attend` submodules, in the order that numbers the layers."""
    return [name for name, module in original(model).named_modules() if isinstance(module, ATTENDS)]


def attend_names(model: nn.Module) -> list[str]:
    """As `attends_of`, at least one.

    Raises:
        VitrailError: the model has none.
    """
    names = attends_of(model)
    if not names:
        raise VitrailError(
            f"{type(model).__name__} has no attention to observe: none of its modules is an Attend; "
            "`observe_features` records the output of any module, and `attribute` with grad_cam needs no attention"
        )
    return names


def find_layer(model: nn.Module, layer: LayerName, names: list[str]) -> int:
    """Number of a layer among `attend_names`. The name of a module selects the one attention that it is or contains."""
    if isinstance(layer, int):
        if not -len(names) <= layer < len(names):
            raise VitrailError(f"there is no layer {layer}: the model has {len(names)}, 0 to {len(names) - 1}")
        return layer % len(names)
    name = find_module(model, layer)
    inside = [index for index, full in enumerate(names) if full == name or full.startswith(f"{name}.")]
    if len(inside) != 1:
        raise VitrailError(f"{name} holds {len(inside)} attentions, not one: {nearest(name, names)}")
    return inside[0]


def find_layers(model: nn.Module, layers: LayerName | Iterable[LayerName] | None) -> dict[int, str]:
    """Return the selected layers in ascending order, with the full names of their `Attend`; None means all."""
    names = attend_names(model)
    if layers is None:
        return dict(enumerate(names))
    asked = [layers] if isinstance(layers, int | str) else layers
    return {index: names[index] for index in sorted({find_layer(model, layer, names) for layer in asked})}


def listed(numbers: int | Iterable[int] | None) -> list[int] | None:
    """Head or token numbers as a list; None, for all, stays None."""
    if isinstance(numbers, int):
        return [numbers]
    return None if numbers is None else list(numbers)


def listed_rows(rows: Rows) -> list[int] | Literal["prefix"] | None:
    """As `listed`, or "prefix".

    Raises:
        VitrailError: `rows` is another word.
    """
    if not isinstance(rows, str):
        return listed(rows)
    if rows != "prefix":
        raise VitrailError(f'rows are "prefix", token numbers or None, not {rows!r}')
    return "prefix"


def prefix_rows(layout: Layout | None, index: int) -> list[int]:
    """The numbers of a layer's prefix tokens.

    Raises:
        VitrailError: it has none.
    """
    if layout is None or layout.prefix == 0:
        raise VitrailError(f"layer {index} has no prefix tokens: ask for rows by number, or for all with rows=None")
    return list(range(layout.prefix))


def check_numbers(kind: str, asked: Iterable[int], count: int, where: str) -> None:
    """Raise VitrailError if a head or row does not exist."""
    for number in asked:
        if not -count <= number < count:
            raise VitrailError(f"{where} has no {kind} {number}: it has {count}, 0 to {count - 1}")


def marked(asked: list[int] | None, count: int, kind: str, where: str) -> Bool[Tensor, " count"]:
    """Mask of the given heads or rows; all for None. Raises as `check_numbers`."""
    check_numbers(kind, asked or (), count, where)
    marks = torch.zeros(count, dtype=torch.bool)
    marks[slice(None) if asked is None else asked] = True
    return marks
