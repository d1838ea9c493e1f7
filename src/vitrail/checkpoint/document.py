"""model.json, the description of a checkpoint: config, rewrites, classes, preprocessing and info as JSON."""

import warnings
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from torch import Tensor

from ..data.preprocess import Preprocess
from ..errors import VitrailError
from ..json_text import json_text
from ..models.families import find_config_class, known_variants
from ..models.fields import ModelConfig, config_types
from ..plain import Unreadable, parse_json, short
from ..rewrites import registry as rewrites
from ..rewrites.base import Rewrite
from ..task_spec import MULTI_LABEL, TaskSpec
from ..typed import NO_FIT, Special, UnknownField, build, field_types
from .origin import public_origin
from .refuse import refused

FORMAT, VERSION = "vitrail.checkpoint", 2
_READABLE = (1, VERSION)
MODEL_JSON = "model.json"
_OWN_KEYS = {"format", "version", "config", "rewrites", "class_names", "preprocess"}
_CUSTOM = "custom"
# Fields that may differ within a variant: they depend on its use, or on the library that the weights come from.
_USE = ("image_size", "in_channels", "num_classes", "task", "drop_path", "dropout", "pad")
_HABITS = ("norm_eps", "head_norm_eps", "pool_norm_eps", "pad_first")
_RECIPE = ("position_mode", "position_antialias", "position_offset", "position_grid")
# "task" follows from the other fields, and without widths of their own all blocks are equal, as they were.
_UNSAID = ("task", "block_heads", "block_head_dims", "block_mlp_dims")
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
        tokenizer: content of the `tokenizer.json` of a model that takes texts; None if there is none.
    """

    config: ModelConfig
    state: dict[str, Tensor]
    class_names: tuple[str, ...]
    preprocess: Preprocess
    info: dict[str, Any] = field(default_factory=dict)
    rewrites: tuple[Rewrite, ...] = ()
    tokenizer: str | None = None


def complete_info(info: dict[str, Any], config: ModelConfig) -> dict[str, Any]:
    """Return `info` with all standard keys, and an origin without folders of this or another machine."""
    blank: dict[str, Any] = {"origin": "", "trained_on": "", "license": "", "metrics": {}, "adapted": []}
    name = {} if "architecture" in info else {"architecture": architecture_name(config)}  # which imports all families
    known = {**name, **blank, **info}
    return {**known, "origin": public_origin(str(known["origin"] or ""))}


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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Document:
    """The fields of model.json that this library reads; all others are values of the user."""

    config: dict[str, Any]
    class_names: tuple[str, ...]
    preprocess: dict[str, Any]
    rewrites: tuple[dict[str, Any], ...] = ()
    architecture: str = _CUSTOM
    origin: str = ""
    trained_on: str = ""
    license: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    adapted: tuple[str, ...] = ()


_READ = {each.name for each in fields(_Document)}


def from_json(text: str | bytes, state: dict[str, Tensor], name: str) -> Stored:
    """Inverse of `to_json`, strict; `name` is the checkpoint's name for messages.

    Any field of the config may be newer than the document: those that it lacks have their defaults, which compute as
    before they were added, and `info["adapted"]` names them. Damage is not found here but by the digest of the text.

    Raises:
        VitrailError: another format, a newer version, an unknown field, or an invalid value.
    """
    try:
        document = _current(parse_json(text))
        values = build(_Document, {key: document[key] for key in _READ & document.keys()}, MODEL_JSON)
        config = config_from_dict(values.config, MODEL_JSON)
        preprocess = Preprocess.from_dict(values.preprocess)
        if preprocess.channels != config.in_channels:
            raise VitrailError(f"preprocess has {preprocess.channels} channels and the model {config.in_channels}")
        changes = tuple(rewrites.from_dict(change) for change in values.rewrites)
        assumed = _assumed(config, values.config)
    except Unreadable as fault:
        raise VitrailError(f"{name} has a damaged model.json: {fault}; use another checkpoint") from None
    except UnknownField as error:
        raise VitrailError(f"{name}: {error}; or upgrade vitrail") from None
    except VitrailError as error:
        raise VitrailError(f"{name}: {error}") from None
    info = {key: value for key, value in document.items() if key not in _OWN_KEYS}
    if assumed:
        warnings.warn(f"{name}: {assumed}", stacklevel=2)
        info["adapted"] = [*values.adapted, assumed]
    return Stored(config, state, values.class_names, preprocess, info, changes)


def _current(document: Any) -> dict[str, Any]:
    """Check format and version of a document, and upgrade it to the current version."""
    if not isinstance(document, dict):
        raise Unreadable(f"it is {short(document)} and not a JSON object")
    if document.get("format") != FORMAT:
        raise VitrailError(f"this is not a vitrail checkpoint: its format is {short(document.get('format'))}")
    version = document.get("version")
    if type(version) is not int or version not in _READABLE:
        raise VitrailError(
            f"model.json has version {short(version)}, this vitrail reads versions up to {VERSION}: upgrade vitrail"
        )
    return _from_version_1(document) if version == 1 else document


def _from_version_1(document: dict[str, Any]) -> dict[str, Any]:
    """Upgrade a document of version 1 to 2: the task, "single" or "multi", moves into the config."""
    rest = {key: value for key, value in document.items() if key != "task"}
    if document.get("task") == "multi" and isinstance(document.get("config"), dict):
        rest["config"] = {**document["config"], "task": MULTI_LABEL.to_dict()}
    return rest


def _assumed(config: ModelConfig, values: dict[str, Any]) -> str:
    """A sentence on fields of a config that a document lacks; "" if it has all."""
    lacking = [key for key in field_types(type(config)) if key not in values and key not in _UNSAID]
    values_assumed = ", ".join(f"{key}={getattr(config, key)!r}" for key in lacking)
    return f"assumed, as {MODEL_JSON} of an earlier version has none: {values_assumed}" if lacking else ""


def config_to_dict(config: ModelConfig) -> dict[str, Any]:
    """Return a config as plain JSON values: its class name under "type", and its fields; likewise one inside it."""
    values = ((field.name, getattr(config, field.name)) for field in fields(config))
    inner = {name: config_to_dict(value) for name, value in values if isinstance(value, ModelConfig)}
    return {"type": type(config).__name__, **asdict(config), **inner, "task": config.task.to_dict()}


def config_from_dict(values: dict[str, Any], name: str) -> ModelConfig:
    """Inverse of `config_to_dict`, strict; without "task" (version 1) the family's default task is used."""
    return _config(values, name, {TaskSpec: _task, ModelConfig: _inner})


def _inner(values: Any, where: str) -> Any:
    """A config inside another, which has none inside itself."""
    return _config(values, where, {TaskSpec: _task}) if isinstance(values, dict) else NO_FIT


def _config(values: dict[str, Any], name: str, special: Special) -> ModelConfig:
    rest = dict(values)
    kind = rest.pop("type", "")
    try:
        found = find_config_class(kind[:80] if isinstance(kind, str) else short(kind))
    except VitrailError as error:
        raise VitrailError(f"{name}: {error}") from None
    with refused(f"the config of {name}"):
        return build(found, rest, f"{found.__name__} of {name}", special=special, types=config_types(found))


def _task(values: Any, where: str) -> TaskSpec:
    return TaskSpec.from_dict(values)


def architecture_name(config: ModelConfig) -> str:
    """Name of the variant of a config, ignoring classes, image size, channels and drop rates; or "custom"."""
    rows = known_variants()
    mine = _freed(config)
    near = [name for name, row in rows.items() if type(row) is type(config) and _freed(row) == mine]
    same_size = [name for name in near if rows[name].image_size == config.image_size]
    return next(iter(same_size or near), _CUSTOM)


def _freed(config: ModelConfig) -> dict[str, Any]:
    """The fields of a config that identify its variant among those of its class."""
    return {field.name: getattr(config, field.name) for field in fields(config) if field.name not in _FREE}
