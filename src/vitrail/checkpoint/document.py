"""What a checkpoint says about its model, as plain JSON and back."""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from torch import Tensor

from ..data.preprocess import Preprocess
from ..errors import VitrailError, nearest
from ..models.registry import CONFIGS, FAMILIES, Config

FORMAT, VERSION = "vitrail.checkpoint", 1
_OWN_KEYS = {"format", "version", "config", "class_names", "preprocess"}
_BLANK = {
    "architecture": "custom",
    "task": "single",
    "origin": "",
    "license": "",
    "metrics": {},
    "adapted": [],
}
# What may differ within a variant: its use, and the habits of the library that its weights come from.
_USE = ("image_size", "in_channels", "num_classes", "drop_path", "dropout", "pad")
_HABITS = ("norm_eps", "head_norm_eps", "pool_norm_eps")
_RECIPE = ("position_mode", "position_antialias", "position_offset", "position_grid")
_FREE = (*_USE, *_HABITS, *_RECIPE)


@dataclass(frozen=True, slots=True)
class Stored:
    """A checkpoint before its model is built: every reader makes one, `adapt` maps one to another.

    Attributes:
        config: rebuilds the architecture.
        state: our state dict, complete.
        class_names: in the order of the logits; empty when unknown.
        preprocess: how images become pixels.
        info: plain JSON values; see `Checkpoint`.
    """

    config: Config
    state: dict[str, Tensor]
    class_names: tuple[str, ...]
    preprocess: Preprocess
    info: dict[str, Any] = field(default_factory=dict)


def complete_info(info: dict[str, Any], config: Config) -> dict[str, Any]:
    """`info` with every standard key present."""
    blank = json.loads(json.dumps(_BLANK))
    return {**blank, "architecture": architecture_name(config), **info}


def to_json(stored: Stored) -> str:
    """model.json: everything but the tensors."""
    clash = _OWN_KEYS & stored.info.keys()
    if clash:
        raise VitrailError(
            f"info cannot have the keys {', '.join(sorted(clash))}: they belong to the checkpoint itself"
        )
    document = {
        "format": FORMAT,
        "version": VERSION,
        **complete_info(stored.info, stored.config),
        "config": {"type": type(stored.config).__name__, **asdict(stored.config)},  # type: ignore[call-overload]
        "class_names": list(stored.class_names),
        "preprocess": stored.preprocess.to_dict(),
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def from_json(text: str | bytes, state: dict[str, Tensor], name: str) -> Stored:
    """The inverse of `to_json`, strict; `name` is the checkpoint's, for messages.

    Raises:
        VitrailError: another format or a newer version, or a field that this version does not know.
    """
    try:
        document = json.loads(text)
        if document.get("format") != FORMAT:
            raise VitrailError(f"{name} is no vitrail checkpoint: its format is {document.get('format')!r}")
        if document.get("version") != VERSION:
            raise VitrailError(
                f"{name} has version {document.get('version')}, this vitrail reads {VERSION}: upgrade vitrail"
            )
        return Stored(
            config=config_from_dict(document["config"], name),
            state=state,
            class_names=tuple(document["class_names"]),
            preprocess=_rebuild(Preprocess, document["preprocess"], f"preprocess of {name}"),
            info={key: value for key, value in document.items() if key not in _OWN_KEYS},
        )
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise VitrailError(
            f"{name} has a model.json that is no JSON object ({error}): use another checkpoint"
        ) from None
    except KeyError as error:
        raise VitrailError(f"model.json of {name} has no {error}: use another checkpoint") from None


def config_from_dict(values: dict[str, Any], name: str) -> Config:
    """The frozen config that `values` describe: its class under "type", its fields beside it."""
    rest = dict(values)
    kind = rest.pop("type", "")
    if kind not in CONFIGS:
        raise VitrailError(f"{name} has config type {kind!r}: {nearest(kind, CONFIGS)}")
    return _rebuild(CONFIGS[kind], rest, f"{kind} of {name}")


def architecture_name(config: Config) -> str:
    """The variant that a config is, whatever its classes, size, channels and drop rates, or "custom"."""
    near = [name for table in FAMILIES.values() for name, row in table.items() if _freed(row) == _freed(config)]
    same_size = [name for name in near if _row(name).image_size == config.image_size]
    return next(iter(same_size or near), "custom")


def _row(name: str) -> Config:
    return next(table[name] for table in FAMILIES.values() if name in table)


def _freed(config: Config) -> Config:
    names = {field.name for field in fields(config)}  # type: ignore[arg-type]
    return replace(config, **dict.fromkeys(names.intersection(_FREE)))  # type: ignore[type-var]


def _rebuild(kind: type, values: dict[str, Any], name: str) -> Any:
    valid = [field.name for field in fields(kind)]
    for key in values:
        if key not in valid:
            raise VitrailError(f"{name} has an unknown field {key!r}: {nearest(key, valid)}; or upgrade vitrail")
    return kind(**{key: _tuples(value) for key, value in values.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
