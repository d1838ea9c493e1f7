"""The list of objectives."""

from importlib import import_module
from typing import Any, TypeVar

from ..errors import VitrailError, nearest
from ..plugins import find_plugin, plugin_names
from .objective import ObjectiveConfig

OBJECTIVES = {
    "supervised": "supervised:SupervisedConfig",
    "regression": "regression:RegressionConfig",
    "mae": "mae:MAEObjectiveConfig",
}
"""Name -> file and config class. Another package adds its own through the entry points `vitrail.objectives`."""

_REGISTERED: dict[str, type[ObjectiveConfig]] = {}

C = TypeVar("C", bound=type[ObjectiveConfig])


def objective_names() -> list[str]:
    """Every objective, those of other packages included; nothing is imported."""
    return [*OBJECTIVES, *_REGISTERED, *plugin_names("objective")]


def register_objective(kind: C) -> C:
    """Make an own config class known under its name for this process, so that its recipes can be read; a decorator.

    Raises:
        VitrailError: the name is one of ours.
    """
    if kind.name in OBJECTIVES:
        raise VitrailError(f"{kind.name} is an objective of vitrail already: choose another name")
    _REGISTERED[kind.name] = kind
    return kind


def objective_config(name: str) -> type[ObjectiveConfig]:
    """The config class of an objective.

    Raises:
        VitrailError: an unknown name; the message gives the nearest.
    """
    if name in OBJECTIVES:
        module, _, kind = OBJECTIVES[name].partition(":")
        found: Any = vars(import_module(f".{module}", __package__))[kind]
    else:
        found = _REGISTERED.get(name) or find_plugin("objective", name)
    if found is None:
        raise VitrailError(f"there is no objective {name!r}: {nearest(name, objective_names())}")
    kind_found: type[ObjectiveConfig] = found
    return kind_found
