"""Read and write recipes as YAML, and set single fields from text."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import VitrailError, nearest
from ..objectives.objective import ObjectiveConfig
from ..objectives.registry import objective_config
from ..objectives.supervised import SupervisedConfig
from ..plain import MOST_YAML_BYTES, Unreadable, parse_yaml, read_bounded, short, to_yaml
from ..task_spec import TaskSpec
from ..tasks.registry import resolve
from ..typed import NO_FIT, Special, build, convert, field_types, options
from .recipe import Recipe
from .recipes import RECIPES, is_recipe, named_recipe


def read_recipe(name_or_file: str) -> Recipe:
    """Return a named recipe, or read one from a YAML file or a run folder."""
    if is_recipe(name_or_file):
        return named_recipe(name_or_file)
    path = Path(name_or_file)
    path = path / "recipe.yaml" if path.is_dir() else path
    if not path.is_file():
        return named_recipe(name_or_file)
    try:
        values = parse_yaml(read_bounded(path, MOST_YAML_BYTES))
    except Unreadable as fault:
        raise VitrailError(f"{path} is not readable as a recipe: {fault}; mend it or use another") from None
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
    return build(Recipe, _moved(values), "recipe", special=_SPECIAL)


def recipe_to_dict(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values, in the order of its fields."""
    values: dict[str, Any] = _plain(asdict(recipe))
    if recipe.objective is not None:
        values["objective"] = {"name": recipe.objective.name, **values["objective"]}
    return values


def recipe_to_yaml(recipe: Recipe) -> str:
    """The recipe as YAML, in the order of its fields."""
    return to_yaml(recipe_to_dict(recipe))


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


def set_fields(recipe: Recipe, settings: Sequence[str], infer: Callable[[], TaskSpec] | None = None) -> Recipe:
    """Apply settings such as "lr=1e-3", "augment.flip=0" or "objective.mixup=0.2".

    Args:
        recipe: where they are set.
        settings: NAME=VALUE each.
        infer: finds the task of the data. Options of an objective that the recipe does not name are those of its
            task; without one, of the task that is inferred; without `infer`, of `supervised`.
    """
    for setting in settings:
        if recipe.objective is None and recipe.task is None and infer and _is_of_objective(setting):
            inferred = resolve(infer()).objective
            recipe = replace(recipe, objective=objective_config(inferred)() if inferred else None)
        name, equals, text = setting.partition("=")
        if not equals:
            raise VitrailError(f"--set {setting} has no value: write --set {setting}=VALUE")
        name = name.removeprefix("recipe.")
        recipe = _set(recipe, _FORMER.get(name, name).split("."), _parse(text), name)
    return recipe


def _is_of_objective(setting: str) -> bool:
    return setting.removeprefix("recipe.").startswith("objective.") and not setting.startswith("objective.name=")


def _parse(text: str) -> Any:
    try:
        return parse_yaml(text)
    except Unreadable as fault:
        raise VitrailError(f"--set value {short(text)} is not readable: {fault}") from None


def _set(owner: Any, path: list[str], value: Any, name: str) -> Any:
    key, rest = path[0], path[1:]
    if isinstance(owner, dict):
        return {**owner, key: _set(owner.get(key, {}), rest, value, name) if rest else value}
    if isinstance(owner, ObjectiveConfig) and key == "name":
        return objective_config(str(value))()
    if not is_dataclass(owner) or isinstance(owner, type):
        raise VitrailError(f"{name} is not a field: {name.removesuffix(f'.{key}')} has no fields of its own")
    hints = field_types(type(owner))
    if key not in hints:
        kind = f"objective {owner.name}" if isinstance(owner, ObjectiveConfig) else "the recipe"
        raise VitrailError(f"{kind} has no field {key}: {nearest(key, hints)}")
    if not rest:
        return replace(owner, **{key: convert(hints[key], value, name, _SPECIAL)})
    inner = getattr(owner, key)
    made = _set(_default(hints[key], owner) if inner is None else inner, rest, value, name)
    return replace(owner, **{key: convert(hints[key], made, name, _SPECIAL) if isinstance(made, dict) else made})


def _default(hint: Any, owner: Any) -> Any:
    if ObjectiveConfig in options(hint):
        task = resolve(TaskSpec.parse(owner.task)) if isinstance(owner, Recipe) and owner.task else None
        return objective_config(task.objective)() if task and task.objective else SupervisedConfig()
    return next((option() for option in options(hint) if isinstance(option, type) and is_dataclass(option)), {})


def _objective(values: Any, where: str) -> Any:
    if not isinstance(values, Mapping):
        return NO_FIT
    rest = dict(values)
    return build(objective_config(str(rest.pop("name", "supervised"))[:200]), rest, where)


_SPECIAL: Special = {ObjectiveConfig: _objective}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value
