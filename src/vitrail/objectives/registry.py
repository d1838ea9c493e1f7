"""Registry of objectives."""

from importlib import import_module
from typing import Any, TypeVar

from ..errors import VitrailError, nearest
from ..plugins import find_plugin, plugin_names
from .objective import ObjectiveConfig

OBJECTIVES = {
    "supervised": "supervised:SupervisedConfig",
    "distill": "distill:DistillConfig",
    "regression": "regression:RegressionConfig",
    "detection": "detection:DetectionConfig",
    "segmentation": "segmentation:SegmentationConfig",
    "depth": "depth:DepthConfig",
    "universal": "universal:UniversalObjectiveConfig",
    "clip": "contrastive:CLIPObjectiveConfig",
    "siglip": "contrastive:SigLIPObjectiveConfig",
    "mae": "mae:MAEObjectiveConfig",
    "videomae": "videomae:VideoMAEObjectiveConfig",
    "simmim": "simmim:SimMIMConfig",
    "beit": "beit:BEiTObjectiveConfig",
    "dino": "dino:DINOObjectiveConfig",
    "inpaint": "inpaint:InpaintConfig",
    "jigsaw": "jigsaw:JigsawConfig",
    "rotation": "rotation:RotationConfig",
}
"""Name -> file and config class. Other packages add theirs through the entry points `vitrail.objectives`."""

_REGISTERED: dict[str, type[ObjectiveConfig]] = {}

C = TypeVar("C", bound=type[ObjectiveConfig])


def objective_names() -> list[str]:
    """Names of all objectives, those of other packages included; nothing is imported."""
    return [*OBJECTIVES, *_REGISTERED, *plugin_names("objective")]


def register_objective(kind: C) -> C:
    """Class decorator that registers a config class under its name in this process, so that recipes can name it.

    Raises:
        VitrailError: vitrail has an objective of this name.
    """
    if kind.name in OBJECTIVES:
        raise VitrailError(f"{kind.name} is an objective of vitrail already: choose another name")
    _REGISTERED[kind.name] = kind
    return kind


def objective_config(name: str) -> type[ObjectiveConfig]:
    """The config class of an objective.

    Raises:
        VitrailError: unknown name; the message suggests the nearest.
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
