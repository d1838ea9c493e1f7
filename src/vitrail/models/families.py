"""Registry of families: modules of this package that define VARIANTS, registered configs, and those of plugins."""

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from ..errors import VitrailError, nearest
from ..plugins import find_plugin, plugin_names
from .fields import ModelConfig

NameRules = tuple[tuple[str, str], ...]
"""(pattern, variant) pairs for the names in papers, see `paper_names`."""


@dataclass(frozen=True, slots=True)
class Family:
    """A family: a module of this package with a config, its variants, and their names in papers.

    Attributes:
        module: name of the module, such as "dinov2".
        variants: name -> config.
        paper_names: rules for names in papers, tried in order.
    """

    module: str
    variants: Mapping[str, ModelConfig]
    paper_names: NameRules


_PACKAGE = __name__.rpartition(".")[0]
_registered: dict[str, ModelConfig] = {}


@cache
def families() -> Mapping[str, Family]:
    """Families by module name, sorted. A new family only needs a file in this folder that defines VARIANTS."""
    found = {}
    for module in _modules():
        names = vars(import_module(f"{_PACKAGE}.{module}"))
        if "VARIANTS" in names:
            found[module] = Family(module, names["VARIANTS"], tuple(names.get("PAPER_NAMES", ())))
    return found


def _modules() -> list[str]:
    """Names of the files of this package, sorted."""
    return sorted(info.name for info in pkgutil.iter_modules(import_module(_PACKAGE).__path__))


@cache
def own_variants() -> Mapping[str, ModelConfig]:
    """All variants of this package; those of the family that defines their config class come first."""
    rows = [(family, name, row) for family in families().values() for name, row in family.variants.items()]
    rows.sort(key=lambda row: not type(row[2]).__module__.endswith(f".{row[0].module}"))
    return {name: config for _, name, config in rows}


def known_variants() -> Mapping[str, ModelConfig]:
    """Variants of this package and registered ones."""
    return {**own_variants(), **_registered}


def variant_names() -> list[str]:
    """Sorted names of all variants, those of plugins included; the plugins are not imported."""
    return sorted({*known_variants(), *plugin_names("family")})


def find_variant(name: str) -> ModelConfig | None:
    """Config of a variant, imported from a plugin if necessary; None if unknown.

    Raises:
        VitrailError: a plugin's object of this name is not a config.
    """
    known = known_variants()
    if name in known:
        return known[name]
    added = find_plugin("family", name)
    if added is None:
        return None
    register(name, added)
    return known_variants()[name]


def find_config_class(kind: str) -> type[ModelConfig]:
    """Config class of a name in a checkpoint, imported from a plugin if necessary.

    Raises:
        VitrailError: unknown name; the message suggests the nearest one.
    """
    if (found := _in_file_of_its_name(kind)) is not None:
        return found
    classes = _config_classes()
    if kind not in classes:
        for name in plugin_names("family"):
            find_variant(name)
        classes = _config_classes()
    if kind not in classes:
        raise VitrailError(
            f"there is no config class {kind!r}: {nearest(kind, classes)}; for a class of your own, "
            "call vitrail.register(name, config) first"
        )
    return classes[kind]


def _in_file_of_its_name(kind: str) -> type[ModelConfig] | None:
    """The class SwinV2Config of swin_v2.py: to import one family takes a tenth of a second less than all."""
    for module in _modules():
        if f"{module.replace('_', '')}config" == kind.lower():
            names = vars(import_module(f"{_PACKAGE}.{module}"))
            return names.get(kind) if "VARIANTS" in names else None
    return None


def register(name: str, config: ModelConfig) -> None:
    """Register a model of your own, so that `create_model`, `train`, `save` and `load` find it by its name.

    Args:
        name: name of the variant, such as "my_vit_tiny".
        config: frozen dataclass that inherits from `ModelConfig`; checkpoints store its class name.

    Raises:
        VitrailError: not such a config, or the name or the class name belongs to another.
    """
    if not isinstance(config, ModelConfig) or "__dataclass_fields__" not in vars(type(config)):
        raise VitrailError(f"{name!r} is {config!r}: register a frozen dataclass that inherits from ModelConfig")
    taken = known_variants().get(name)
    if taken is not None and taken != config:
        raise VitrailError(f"there is already a model {name!r}: choose another name")
    kind = type(config)
    other = _config_classes().get(kind.__name__, kind)
    if (other.__module__, other.__qualname__) != (kind.__module__, kind.__qualname__):
        raise VitrailError(f"there is already a class {kind.__name__} in {other.__module__}: choose another name")
    _registered[name] = config


def _config_classes() -> dict[str, type[ModelConfig]]:
    return {type(row).__name__: type(row) for row in known_variants().values()}
