"""Conversion of other libraries' state dicts to vitrail's names."""

import pkgutil
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from ...errors import VitrailError
from ...models.fields import ModelConfig
from ...nn import BaseVisionModel
from ...plugins import find_plugin, plugin_names
from ..build import few
from ..envelope import unwrap
from .rename import Layout, Renamed, Rule, to_ours
from .wrapped import without_wrapper

_ROUNDING = 2e-3
"""Largest difference of a computed tensor from one that was stored in float16."""
_MOST_TENSORS = 20_000
"""The largest models that are read have 2,000; every layout is compared with every name."""
Reader = Callable[[Mapping[str, Any]], ModelConfig]
"""Function: values of a config.json -> config of the model."""
_SHARED = ("timm", "transformers", "torchvision", "official")
"""Modules with the layouts of ViT in each source. If names fit several layouts equally well, the first is used."""
_OTHERS = sorted({module.name for module in pkgutil.iter_modules(__path__)}.difference(_SHARED))
_MODULES = {module: vars(import_module(f"{__name__}.{module}")) for module in (*_SHARED, *_OTHERS)}
_TABLES = list(_MODULES.values())

LAYOUTS: tuple[Layout, ...] = tuple(layout for table in _TABLES for layout in table.get("LAYOUTS", ()))
"""Layouts of all modules in this folder; a family adds its own by a file that defines LAYOUTS."""
CONFIGS: dict[str, Reader] = {kind: read for table in _TABLES for kind, read in table.get("CONFIGS", {}).items()}
"""Readers of transformers' config.json, by `model_type`."""


def convert_state_dict(state_dict: Mapping[str, Any], model: BaseVisionModel[ModelConfig]) -> dict[str, Tensor]:
    """Translate a state dict of timm, transformers, torchvision or an official release to vitrail's names.

    Args:
        state_dict: name -> tensor or NumPy array; may be nested as training scripts save it, have the prefixes of
            wrappers, or vitrail's names already.
        model: the model to load them into.

    Returns:
        state dict for `model.load_state_dict`.

    Raises:
        VitrailError: unknown layout, or missing or unexpected tensors, or tensors of another shape; the message
        lists the first of each kind.
    """
    expected = model.state_dict()
    own = Layout("vitrail", tuple(Rule(name, (name,)) for name in expected))
    state, _ = unwrapped(tensors(state_dict), own)
    layout = recognise(state, own)
    renamed = to_ours(state, layout)
    check(renamed, expected, layout)
    check_computed(state, layout, model.config)
    return {name: renamed.state[name] for name in expected}


def layouts_of(config: ModelConfig) -> tuple[Layout, ...]:
    """Layouts of the module of a config's family; empty if it has none of its own."""
    family = type(config).__module__.rpartition(".")[2]
    return tuple(_MODULES.get(family, {}).get("LAYOUTS", ()))


def added_layouts() -> tuple[Layout, ...]:
    """Layouts of installed packages: the `LAYOUTS` of the modules that the entry points `vitrail.layouts` name."""
    return tuple(layout for module in _added_modules() for layout in vars(module).get("LAYOUTS", ()))


def added_configs() -> dict[str, Reader]:
    """Readers of config.json of installed packages, by `model_type`: the `CONFIGS` of the same modules."""
    return {kind: read for module in _added_modules() for kind, read in vars(module).get("CONFIGS", {}).items()}


def _added_modules() -> list[Any]:
    return [find_plugin("layout", name) for name in plugin_names("layout")]


def recognise(state: Mapping[str, Tensor], *more: Layout) -> Layout:
    """Layout with rules for most of the names; layouts of other packages are tried if none has rules for all."""
    layout, score = _best(state, *more)
    if not score:
        shown = ", ".join(list(state)[:5]) or "nothing"
        raise VitrailError(
            f"these tensors are of no known layout ({shown}, …): "
            "known are those of timm, transformers, torchvision and the official releases"
        )
    return layout


def _best(state: Mapping[str, Tensor], *more: Layout) -> tuple[Layout, int]:
    """The layout that knows most names, and how many."""
    candidates = (*more, *LAYOUTS)
    scores = [layout.known(state) for layout in candidates]
    if max(scores, default=0) < len(state):
        added = added_layouts()
        candidates, scores = (*candidates, *added), [*scores, *(layout.known(state) for layout in added)]
    return candidates[scores.index(max(scores))], max(scores)


def unwrapped(state: Mapping[str, Tensor], *more: Layout) -> tuple[dict[str, Tensor], list[str]]:
    """The state dict without prefixes of wrappers, and sentences on tensors that are outside of the model."""
    return without_wrapper(state, lambda part: _best(part, *more)[1])


def check(renamed: Renamed, expected: Mapping[str, Tensor], layout: Layout) -> None:
    """Raise VitrailError unless every tensor is present with the right shape; the message lists others."""
    missing = [*renamed.incomplete]
    wrong = []
    for name, tensor in expected.items():
        place = layout.place_of_ours(name)
        if name not in renamed.state:
            lacking = ", ".join(place.theirs) if place else f"{name} (which {layout.name} does not have)"
            missing += [] if place and set(place.theirs) & set(renamed.incomplete) else [lacking]
        elif renamed.state[name].shape != tensor.shape:
            wrong.append(f"{name} {tuple(renamed.state[name].shape)} for {tuple(tensor.shape)}")
    surplus = [", ".join(_theirs(layout, name)) for name in renamed.state if name not in expected]
    groups = {
        "missing": list(dict.fromkeys(missing)),
        "unexpected": [*renamed.unexpected, *surplus],
        "of a wrong shape": wrong,
    }
    faults = [f"{kind}: {few(names)}" for kind, names in groups.items() if names]
    if faults:
        raise VitrailError(f"weights of layout {layout.name} do not fit the model: {'; '.join(faults)}")


def check_computed(state: Mapping[str, Tensor], layout: Layout, config: ModelConfig) -> None:
    """Raise VitrailError if a tensor that our model computes instead of storing has other values."""
    stored = layout.strip(state)
    for name, compute in layout.computed.items():
        if name not in stored:
            continue
        ours, theirs = compute(config), stored[name].float()
        if ours.shape != theirs.shape or (ours - theirs).abs().max() > _ROUNDING:
            raise VitrailError(
                f"{name} of these weights is not what {type(config).__name__} computes in its place, for image_size="
                f"{config.image_size}: pass another size; values that were trained or resampled are not supported"
            )


def tensors(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return a flat dict of tensors: nested dicts unwrapped, NumPy arrays converted."""
    state, _ = unwrap(state_dict)
    if len(state) > _MOST_TENSORS:
        raise VitrailError(f"{len(state):,} tensors, and models that can be read have at most {_MOST_TENSORS:,}")
    return {name: torch.as_tensor(value) for name, value in state.items()}


def _theirs(layout: Layout, name: str) -> tuple[str, ...]:
    place = layout.place_of_ours(name)
    return place.theirs if place else (name,)
