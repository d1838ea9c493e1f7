"""The list of families: the modules of this package that define VARIANTS, own configs, and those of other packages."""

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from ..errors import VitrailError, nearest
from ..plugins import find_plugin, plugin_names
from .fields import ModelConfig

NameRules = tuple[tuple[str, str], ...]
"""(pattern, variant) pairs: the names of papers, see `paper_names`."""


@dataclass(frozen=True, slots=True)
class Family:
    """A module of this package: a config, its variants, and the names that papers give them.

    Attributes:
        module: name of the module, such as "dinov2".
        variants: configs by name.
        paper_names: rules, tried in order.
    """

    module: str
    variants: Mapping[str, ModelConfig]
    paper_names: NameRules


_registered: dict[str, ModelConfig] = {}


@cache
def families() -> Mapping[str, Family]:
    """Families by module name, sorted: a file in this folder that defines VARIANTS is all that one needs."""
    package = __name__.rpartition(".")[0]
    found = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(import_module(package).__path__)):
        names = vars(import_module(f"{package}.{module}"))
        if "VARIANTS" in names:
            found[module] = Family(module, names["VARIANTS"], tuple(names.get("PAPER_NAMES", ())))
    return found


@cache
def own_variants() -> Mapping[str, ModelConfig]:
    """All variants of this package; those whose family defines their config class stand first."""
    rows = [(family, name, row) for family in families().values() for name, row in family.variants.items()]
    rows.sort(key=lambda row: not type(row[2]).__module__.endswith(f".{row[0].module}"))
    return {name: config for _, name, config in rows}


def known_variants() -> Mapping[str, ModelConfig]:
    """The variants of this package and the registered ones."""
    return {**own_variants(), **_registered}


def variant_names() -> list[str]:
    """Names of all variants, those of installed packages included, sorted; the packages are not imported."""
    return sorted({*known_variants(), *plugin_names("family")})


def find_variant(name: str) -> ModelConfig | None:
    """The config of a variant, imported from the package that adds it where it is not one of ours; None if unknown.

    Raises:
        VitrailError: an installed package adds something else than a config under this name.
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
    """The class of configs that a checkpoint names, looked for in installed packages where it is not one of ours.

    Raises:
        VitrailError: an unknown name; the message gives the nearest one.
    """
    classes = _config_classes()
    if kind not in classes:
        for name in plugin_names("family"):
            find_variant(name)
        classes = _config_classes()
    if kind not in classes:
        raise VitrailError(
            f"there is no config class {kind!r}: {nearest(kind, classes)}; a class of your own is known after "
            "vitrail.register(name, config)"
        )
    return classes[kind]


def register(name: str, config: ModelConfig) -> None:
    """Add a model of your own: `create_model`, `train`, `save` and `load` then know it by its name.

    Args:
        name: of the variant, such as "my_vit_tiny".
        config: frozen dataclass that inherits `ModelConfig`; its class is what checkpoints name.

    Raises:
        VitrailError: something else than such a config, a name that stands for another config, or a class whose name
            another class has.
    """
    if not isinstance(config, ModelConfig) or "__dataclass_fields__" not in vars(type(config)):
        raise VitrailError(f"{name!r} is no frozen dataclass that inherits ModelConfig, but {config!r}: register one")
    taken = known_variants().get(name)
    if taken is not None and taken != config:
        raise VitrailError(f"{name!r} is already the name of another model: choose another")
    kind = type(config)
    other = _config_classes().get(kind.__name__, kind)
    if (other.__module__, other.__qualname__) != (kind.__module__, kind.__qualname__):
        raise VitrailError(f"{kind.__name__} is already the name of a class in {other.__module__}: choose another")
    _registered[name] = config


def _config_classes() -> dict[str, type[ModelConfig]]:
    return {type(row).__name__: type(row) for row in known_variants().values()}
