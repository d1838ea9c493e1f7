"""model.json, the description of a checkpoint: config, rewrites, classes, preprocessing and info as JSON."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from torch import Tensor

from ..data.preprocess import Preprocess
from ..errors import VitrailError, nearest
from ..json_text import json_text
from ..models.families import find_config_class, known_variants
from ..models.fields import ModelConfig
from ..rewrites import registry as rewrites
from ..rewrites.base import Rewrite
from ..task_spec import MULTI_LABEL, TaskSpec

FORMAT, VERSION = "vitrail.checkpoint", 2
_READABLE = (1, VERSION)
_OWN_KEYS = {"format", "version", "config", "rewrites", "class_names", "preprocess"}
_BLANK = {
    "architecture": "custom",
    "origin": "",
    "trained_on": "",
    "license": "",
    "metrics": {},
    "adapted": [],
}
# Fields that may differ within a variant: they depend on its use, or on the library that the weights come from.
_USE = ("image_size", "in_channels", "num_classes", "task", "drop_path", "dropout", "pad")
_HABITS = ("norm_eps", "head_norm_eps", "pool_norm_eps", "pad_first")
_RECIPE = ("position_mode", "position_antialias", "position_offset", "position_grid")
_FREE = (*_USE, *_HABITS, *_RECIPE)


@dataclass(frozen=True, slots=True)
class Stored:
    """A checkpoint without a built model: readers return one, `adapt` changes one.

    Attributes:
        config: config of the model.
        state: complete state dict with our names.
        class_names: names in the order of the outputs; empty if unknown.
        preprocess: the preprocessing, image -> pixels.
        info: plain JSON values; see `Checkpoint`.
        rewrites: rewrites of the built model, in order.
    """

    config: ModelConfig
    state: dict[str, Tensor]
    class_names: tuple[str, ...]
    preprocess: Preprocess
    info: dict[str, Any] = field(default_factory=dict)
    rewrites: tuple[Rewrite, ...] = ()


def complete_info(info: dict[str, Any], config: ModelConfig) -> dict[str, Any]:
    """Return `info` with all standard keys."""
    blank = json.loads(json.dumps(_BLANK))
    return {**blank, "architecture": architecture_name(config), **info}


def to_json(stored: Stored) -> str:
    """Return the text of model.json: everything but the tensors."""
    clash = _OWN_KEYS & stored.info.keys()
    if clash:
        raise VitrailError(
            f"info cannot have the keys {', '.join(sorted(clash))}: they belong to the checkpoint itself"
        )
    document = {
        "format": FORMAT,
        "version": VERSION,
        **complete_info(stored.info, stored.config),
        "config": config_to_dict(stored.config),
        "rewrites": [rewrites.to_dict(change) for change in stored.rewrites],
        "class_names": list(stored.class_names),
        "preprocess": stored.preprocess.to_dict(),
    }
    return json_text(document, indent=2)


def from_json(text: str | bytes, state: dict[str, Tensor], name: str) -> Stored:
    """Inverse of `to_json`, strict; `name` is the checkpoint's name for messages.

    Raises:
        VitrailError: another format, a newer version, or an unknown field.
    """
    try:
        document = json.loads(text)
        if document.get("format") != FORMAT:
            raise VitrailError(f"{name} is not a vitrail checkpoint: its format is {document.get('format')!r}")
        if document.get("version") not in _READABLE:
            raise VitrailError(
                f"{name} has version {document.get('version')}, this vitrail reads versions up to {VERSION}: upgrade "
                "vitrail"
            )
        if document["version"] == 1:
            document = _from_version_1(document)
        return Stored(
            config=config_from_dict(document["config"], name),
            state=state,
            class_names=tuple(document["class_names"]),
            preprocess=_rebuild(Preprocess, document["preprocess"], f"preprocess of {name}"),
            info={key: value for key, value in document.items() if key not in _OWN_KEYS},
            rewrites=_rewrites(document.get("rewrites", []), name),
        )
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise VitrailError(
            f"{name} has a model.json that is not a JSON object ({error}): use another checkpoint"
        ) from None
    except KeyError as error:
        raise VitrailError(f"model.json of {name} has no {error}: use another checkpoint") from None


def _rewrites(listed: list[dict[str, Any]], name: str) -> tuple[Rewrite, ...]:
    try:
        return tuple(rewrites.from_dict(values) for values in listed)
    except VitrailError as error:
        raise VitrailError(f"{name}: {error}; or upgrade vitrail") from None


def _from_version_1(document: dict[str, Any]) -> dict[str, Any]:
    """Upgrade a document of version 1 to 2: the task, "single" or "multi", moves into the config."""
    rest = {key: value for key, value in document.items() if key != "task"}
    if document.get("task") == "multi":
        rest["config"] = {**document["config"], "task": MULTI_LABEL.to_dict()}
    return rest


def config_to_dict(config: ModelConfig) -> dict[str, Any]:
    """Return a config as plain JSON values: its class name under "type", and its fields."""
    return {"type": type(config).__name__, **asdict(config), "task": config.task.to_dict()}


def config_from_dict(values: dict[str, Any], name: str) -> ModelConfig:
    """Inverse of `config_to_dict`; without "task" (version 1) the family's default task is used."""
    rest = dict(values)
    kind = rest.pop("type", "")
    if "task" in rest:
        rest["task"] = TaskSpec.from_dict(rest["task"])
    try:
        found = find_config_class(kind)
    except VitrailError as error:
        raise VitrailError(f"{name}: {error}") from None
    return _rebuild(found, rest, f"{kind} of {name}")


def architecture_name(config: ModelConfig) -> str:
    """Name of the variant of a config, ignoring classes, image size, channels and drop rates; or "custom"."""
    rows = known_variants()
    near = [name for name, row in rows.items() if _freed(row) == _freed(config)]
    same_size = [name for name in near if rows[name].image_size == config.image_size]
    return next(iter(same_size or near), "custom")


def _freed(config: ModelConfig) -> tuple[Any, ...]:
    """Class and fields of a config that identify its variant."""
    return type(config), {
        field.name: getattr(config, field.name) for field in fields(config) if field.name not in _FREE
    }


def _rebuild(kind: type, values: dict[str, Any], name: str) -> Any:
    valid = [field.name for field in fields(kind)]
    for key in values:
        if key not in valid:
            raise VitrailError(f"{name} has an unknown field {key!r}: {nearest(key, valid)}; or upgrade vitrail")
    return kind(**{key: _tuples(value) for key, value in values.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
