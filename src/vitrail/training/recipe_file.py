"""Read and write recipes as YAML, and set single fields from text."""

import types
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from ..errors import VitrailError, nearest
from ..objectives.objective import ObjectiveConfig
from ..objectives.registry import objective_config
from ..objectives.supervised import SupervisedConfig
from .recipe import RECIPES, Recipe, named_recipe

T = TypeVar("T")


def read_recipe(name_or_file: str) -> Recipe:
    """Return a named recipe, or read one from a YAML file or a run folder."""
    if name_or_file in RECIPES:
        return named_recipe(name_or_file)
    path = Path(name_or_file)
    path = path / "recipe.yaml" if path.is_dir() else path
    if not path.is_file():
        return named_recipe(name_or_file)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise VitrailError(f"{path} is not readable as YAML: {error}") from error
    if not isinstance(values, dict):
        raise VitrailError(f"{path} has no recipe: it needs lines such as `epochs: 20`")
    return recipe_from_dict(values)


def pretraining_recipe(objective: str | None = None, given: Recipe | str | None = None) -> Recipe:
    """A recipe for an objective without labels: the one given, or the one with the objective's name, or the default.

    Args:
        objective: a registered name; None: that of the given recipe, or mae.
        given: a recipe, or what `read_recipe` takes.

    Raises:
        VitrailError: unknown objective, or one that needs labels; a recipe for another objective.
    """
    recipe = read_recipe(given) if isinstance(given, str) else given
    own = recipe.objective if recipe else None
    if isinstance(own, SupervisedConfig):  # of recipes for labels only the rest counts
        own = None
    name = objective or (own.name if own else "mae")
    kind = objective_config(name)
    if kind.tasks:
        raise VitrailError(f"objective {name} learns from labels: use `vitrail train`, or --objective mae")
    if own is not None and own.name != name:
        raise VitrailError(f"this recipe is for objective {own.name}, and {name} is given: leave out one of the two")
    if recipe is None:
        return RECIPES.get(name, Recipe(objective=kind()))
    return recipe if own else replace(recipe, objective=kind())


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """Build a recipe from plain values; unknown fields and values of the wrong type raise VitrailError."""
    return _build(Recipe, _moved(values), "recipe")


def recipe_to_dict(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values, in the order of its fields."""
    values: dict[str, Any] = _plain(asdict(recipe))
    if recipe.objective is not None:
        values["objective"] = {"name": recipe.objective.name, **values["objective"]}
    return values


def recipe_to_yaml(recipe: Recipe) -> str:
    """The recipe as YAML, in the order of its fields."""
    return yaml.safe_dump(recipe_to_dict(recipe), sort_keys=False, allow_unicode=True)


_FORMER = {
    "label_smoothing": "objective.label_smoothing",
    "balance": "objective.balance",
    "augment.mixup": "objective.mixup",
    "augment.cutmix": "objective.cutmix",
    "augment.mix_rate": "objective.mix_rate",
}
"""Where these fields were in earlier versions of recipes; all are options of `supervised` now."""


def _moved(values: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the values of a recipe of an earlier version."""
    rest = {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    found: dict[str, Any] = {}
    for former, now in _FORMER.items():
        owner, _, name = former.rpartition(".")
        holder = rest.get(owner) if owner else rest
        if isinstance(holder, dict) and name in holder:
            found[now.partition(".")[2]] = holder.pop(name)
    if found and "objective" not in rest:
        rest["objective"] = {"name": "supervised", **found}
    if "tensorboard" in rest:
        rest["loggers"] = ["tensorboard"] if rest.pop("tensorboard") else []
    return rest


def set_fields(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Apply settings such as "lr=1e-3", "augment.flip=0" or "objective.mixup=0.2"."""
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise VitrailError(f"--set {setting} has no value: write --set {setting}=VALUE")
        name = name.removeprefix("recipe.")
        recipe = _set(recipe, _FORMER.get(name, name).split("."), _parse(text), name)
    return recipe


def _parse(text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise VitrailError(f"--set value {text!r} is not readable: {error}") from error
    if isinstance(value, str):
        try:
            return float(value)  # YAML 1.1 reads 1e-3 as text
        except ValueError:
            return value
    return value


def _set(owner: Any, path: list[str], value: Any, name: str) -> Any:
    key, rest = path[0], path[1:]
    if isinstance(owner, dict):
        return {**owner, key: _set(owner.get(key, {}), rest, value, name) if rest else value}
    if isinstance(owner, ObjectiveConfig) and key == "name":
        return objective_config(str(value))()
    hints = _hints(type(owner))
    if key not in hints:
        kind = f"objective {owner.name}" if isinstance(owner, ObjectiveConfig) else "the recipe"
        raise VitrailError(f"{kind} has no field {key}: {nearest(key, hints)}")
    if not rest:
        return replace(owner, **{key: _convert(hints[key], value, name)})
    inner = getattr(owner, key)
    return replace(owner, **{key: _set(_default(hints[key]) if inner is None else inner, rest, value, name)})


def _default(hint: Any) -> Any:
    if ObjectiveConfig in _options(hint):
        return SupervisedConfig()
    return next((option() for option in _options(hint) if isinstance(option, type) and is_dataclass(option)), {})


def _build(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    hints = _hints(kind)
    for key in values:
        if key not in hints:
            raise VitrailError(f"there is no field {where}.{key}: {nearest(str(key), hints)}")
    return kind(**{key: _convert(hints[key], value, f"{where}.{key}") for key, value in values.items()})


def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _convert(hint: Any, value: Any, where: str) -> Any:
    for option in _options(hint):
        converted = _fit(option, value, where)
        if converted is not _NO_FIT:
            return converted
    raise VitrailError(f"{where} is {value!r}, which does not fit: it takes {_describe(hint)}")


_NO_FIT = object()


def _fit(option: Any, value: Any, where: str) -> Any:
    """The value converted to this type, or _NO_FIT."""
    if option is type(None):
        return None if value is None else _NO_FIT
    if option is ObjectiveConfig:
        return _objective(value, where) if isinstance(value, Mapping) else _NO_FIT
    if is_dataclass(option):
        return _build(option, value, where) if isinstance(value, Mapping) else _NO_FIT  # type: ignore[arg-type]
    if get_origin(option) is Literal:
        return value if value in get_args(option) else _NO_FIT
    if get_origin(option) is tuple:
        return _fit_tuple(option, value, where)
    if get_origin(option) is dict:
        return dict(value) if isinstance(value, Mapping) else _NO_FIT
    if option is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if option is int and isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is option else _NO_FIT


def _objective(values: Mapping[str, Any], where: str) -> ObjectiveConfig:
    rest = dict(values)
    return _build(objective_config(str(rest.pop("name", "supervised"))), rest, where)


def _fit_tuple(option: Any, value: Any, where: str) -> Any:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return _NO_FIT
    kinds = get_args(option)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_convert(kinds[0], item, where) for item in value)
    if len(kinds) != len(value):
        return _NO_FIT
    return tuple(_convert(kind, item, where) for kind, item in zip(kinds, value, strict=True))


def _describe(hint: Any) -> str:
    words = []
    for option in _options(hint):
        if get_origin(option) is Literal:
            words += [str(value) for value in get_args(option)]
        elif option is type(None):
            words.append("null (chosen for you)")
        else:
            words.append(option.__name__ if isinstance(option, type) and not get_args(option) else str(option))
    return " or ".join(words)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value
