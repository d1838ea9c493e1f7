"""Reads configuration files of timm and transformers."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import VitrailError
from ..models.dinov3 import DINOv3Config
from ..models.fields import ModelConfig
from ..models.registry import list_models, model_config
from ..models.vit import ViTConfig
from ..plain import Unreadable, read_json
from .convert import CONFIGS, Reader, added_configs
from .convert.expect import expect

_RESAMPLE = {0: "nearest", 2: "bilinear", 3: "bicubic"}
# Arguments of timm's models that follow from the tensors or the image size, or that only training uses.
_HARMLESS = (
    "img_size",
    "in_chans",
    "num_classes",
    "dynamic_img_size",
    "strict_img_size",
    "drop_rate",
    "drop_path_rate",
)
_POOLS = {"token": "class", "avg": "mean"}
_STRETCHED = "images are cropped to the centre for evaluation; transformers stretches them to a square"


@dataclass(frozen=True, slots=True)
class Card:
    """Information about weights from configuration files.

    Attributes:
        architecture: our variant, if the card names one.
        config: complete config of the model, if the card describes it.
        facts: known config fields.
        preprocess: known fields of `Preprocess`.
        class_names: names in the order of the outputs; empty if unknown.
        license, notes: for `Checkpoint.info`.
    """

    architecture: str | None = None
    config: ModelConfig | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    license: str = ""
    notes: tuple[str, ...] = ()


def read_card(folder: Path) -> Card:
    """Read the card of a timm or transformers folder: config.json, and preprocessor_config.json if present."""
    config = _read_json(folder / "config.json")
    if "architecture" in config:
        return timm_card(config)
    kind, preprocessor = config.get("model_type"), folder / "preprocessor_config.json"
    images = _read_json(preprocessor) if preprocessor.is_file() else {}
    if kind in ("vit", "deit"):
        expect(config, hidden_act="gelu", qkv_bias=True)
        return transformers_card(config, images)
    reader = CONFIGS.get(str(kind)) or added_configs().get(str(kind))
    if reader is not None:
        return replace(transformers_card(config, images), config=_config(reader, config, folder), facts={})
    raise VitrailError(
        f"{folder / 'config.json'} describes {kind or 'an unknown model'!r}: "
        f"supported are timm's models, and transformers' vit, deit, {', '.join(CONFIGS)}"
    )


def _config(reader: Reader, values: Mapping[str, Any], folder: Path) -> ModelConfig:
    try:
        return reader(values)
    except KeyError as error:
        raise VitrailError(f"{folder / 'config.json'} has no {error}: get the file again") from None


def timm_card(config: Mapping[str, Any]) -> Card:
    """Card of a timm model: the architecture's name, and the preprocessing in `pretrained_cfg`."""
    pretrained = config.get("pretrained_cfg", {})
    name = config["architecture"]
    _check_timm_arguments(name, config.get("model_args") or {})
    size = pretrained.get("input_size")
    preprocess = {
        "image_size": tuple(size[1:]) if size else None,
        "crop": pretrained.get("crop_pct"),
        "interpolation": pretrained.get("interpolation"),
        "mean": _tuple(pretrained.get("mean")),
        "std": _tuple(pretrained.get("std")),
    }
    return Card(
        architecture=name if name in list_models() else None,
        facts={**({"image_size": _side(size[1:])} if size else {}), **_timm_pool(name, config.get("global_pool", ""))},
        preprocess={key: value for key, value in preprocess.items() if value is not None},
        class_names=tuple(config.get("label_names") or pretrained.get("label_names") or ()),
        license=pretrained.get("license", ""),
    )


def _check_timm_arguments(name: str, values: Mapping[str, Any]) -> None:
    others = [f"{key}={value!r}" for key, value in values.items() if key not in _HARMLESS]
    if others:
        raise VitrailError(
            f"this {name} of timm was built with {', '.join(others)}: only unmodified models are supported"
        )


def _timm_pool(name: str, pool: str) -> dict[str, str]:
    """Pool of a timm model as a config field of our variant, if its family has that field."""
    row = model_config(name) if name in list_models() else None
    if isinstance(row, ViTConfig | DINOv3Config) and pool in _POOLS:
        return {"pool": _POOLS[pool]}
    usual = "avg" if "_gap_" in name else "map" if "_siglip_" in name else "token"
    if name.startswith(("vit_", "deit")) and pool not in (usual, ""):
        raise VitrailError(f"{name} pools with {pool!r}: only {usual!r} is supported")
    return {}


def transformers_card(config: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> Card:
    """Card of a transformers model: sizes and labels from config.json, preprocessing from preprocessor_config.json."""
    labels = {int(index): name for index, name in (config.get("id2label") or {}).items()}
    facts = {
        "image_size": _size(config.get("image_size", 224)),
        "patch_size": _size(config.get("patch_size", 16)),
        "num_heads": config.get("num_attention_heads", 12),
        "norm_eps": config.get("layer_norm_eps", 1e-12),
    }
    return Card(
        facts=facts,
        preprocess=_transformers_preprocess(preprocessor),
        class_names=tuple(labels[index] for index in sorted(labels)),
        license=config.get("license", ""),
        notes=() if preprocessor.get("do_center_crop") or _share(preprocessor) else (_STRETCHED,),
    )


def _transformers_preprocess(values: Mapping[str, Any]) -> dict[str, Any]:
    size, crop = _pixels(values.get("size")), _pixels(values.get("crop_size"))
    cropped = bool(values.get("do_center_crop")) and size is not None and crop is not None
    share = _share(values)
    preprocess = {
        "image_size": crop if cropped else size,
        "crop": share or (crop[0] / size[0] if cropped and size and crop else 1.0),
        "interpolation": _RESAMPLE.get(values.get("resample", 2), "bilinear"),
        "mean": _tuple(values.get("image_mean")),
        "std": _tuple(values.get("image_std")),
    }
    return {key: value for key, value in preprocess.items() if value is not None}


def _share(values: Mapping[str, Any]) -> float | None:
    """Fraction of an image that the centre crop keeps, if a preprocessor defines it instead of two sizes."""
    size = _pixels(values.get("size"))
    if "crop_pct" in values and size is not None and size[0] < 384:  # ConvNeXt's; larger images are stretched
        return float(values["crop_pct"] or 224 / 256)
    kind = values.get("image_processor_type") or values.get("feature_extractor_type") or ""
    return 224 / 256 if kind.startswith("Levit") and values.get("do_center_crop") else None


def _pixels(size: Any) -> tuple[int, int] | None:
    """(height, width) from any of transformers' formats of a size."""
    if isinstance(size, int):
        return size, size
    if isinstance(size, Mapping):
        side = size.get("shortest_edge")
        return (size["height"], size["width"]) if side is None else (side, side)
    return None


def _size(value: Any) -> int | tuple[int, int]:
    return value if isinstance(value, int) else (value[0], value[1])


def _side(size: Any) -> int | tuple[int, int]:
    return size[0] if size[0] == size[1] else (size[0], size[1])


def _tuple(values: Any) -> tuple[float, ...] | None:
    return None if values is None else tuple(values)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = read_json(path)
    except Unreadable as fault:
        raise VitrailError(f"{path} cannot be read: {fault}; get the file again") from None
    if not isinstance(document, dict):
        raise VitrailError(f"{path} is not a JSON object: get the file again")
    return document
