"""Reads config.json of timm."""

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ..errors import VitrailError, nearest
from ..models.dinov3 import DINOv3Config
from ..models.eva import EVAConfig
from ..models.families import families
from ..models.fields import ModelConfig
from ..models.registry import SYNONYMS, list_models, model_config
from ..models.rope_vit import RotaryViTConfig
from ..models.vit import ViTConfig
from .card import Card, known_only, side_or_pair

# Arguments that follow from the tensors, or that only training uses.
_HARMLESS = (
    *("in_chans", "num_classes", "img_size", "global_pool", "weight_init", "fix_init", "pretrained"),
    *("dynamic_img_size", "strict_img_size", "drop_rate", "drop_path_rate", "attn_drop_rate"),
    *("proj_drop_rate", "pos_drop_rate", "patch_drop_rate", "drop_block_rate", "grad_checkpointing"),
)
# What timm's classes have if an argument is not given; only models with another value differ from ours.
_DEFAULTS: Mapping[str, Any] = {
    **dict.fromkeys(("qk_norm", "pre_norm", "dynamic_img_pad", "no_embed_class", "use_abs_pos_emb"), False),
    "always_partition": False,
    **dict.fromkeys(("class_token", "qkv_bias", "proj_bias", "final_norm", "patch_norm"), True),
    **dict.fromkeys(("fc_norm", "norm_layer", "act_layer", "head_dim", "init_values"), None),
    "reg_tokens": 0,
    "pos_embed": "learn",
    "output_stride": 32,
    "ape": False,
}
_POOLS = {"token": "class", "avg": "mean"}
# Pools of timm's models whose family has no field for the pool, by family.
_FAMILY_POOLS = {
    **dict.fromkeys(("clip", "cait", "deit", "flexivit", "hybrid", "dinov2", "parallel_vit"), "token"),
    **dict.fromkeys(("beit", "cnn", "convnext", "levit", "mixer", "pvt_v2", "swin", "swin_v2", "vit_gap"), "avg"),
}
_TOKENS = "timm's model pools nothing and gives all tokens: here the output is pooled, and forward_features gives them"
_INTERPOLATIONS = ("bilinear", "bicubic", "nearest")


def timm_card(config: Mapping[str, Any]) -> Card:
    """Card of a timm model: the architecture's name, its arguments, and the preprocessing in `pretrained_cfg`.

    Raises:
        VitrailError: a model that we do not have, or an argument or a preprocessing that ours cannot follow.
    """
    pretrained, arguments = config.get("pretrained_cfg") or {}, config.get("model_args") or {}
    name = _our_name(str(config["architecture"]))
    row = model_config(name)
    size = arguments.get("img_size") or (pretrained.get("input_size") or (None,))[1:] or None
    pool = arguments.get("global_pool", config.get("global_pool"))
    classes = arguments.get("num_classes", config.get("num_classes"))
    facts = {"image_size": side_or_pair(size)} if size else {}
    facts |= _arguments(name, row, arguments)
    return Card(
        architecture=name,
        facts={**facts, **_pool(name, row, pool, classes)},
        preprocess=timm_preprocess(name, pretrained),
        class_names=_class_names(config.get("label_names") or pretrained.get("label_names")),
        license=pretrained.get("license") or "",
        notes=() if pool != "" else (_TOKENS,),
    )


def stated_architecture(name: str) -> str | None:
    """Our variant of the name in a file of timm's training script; None for a name that is not of timm's form.

    Raises:
        VitrailError: a name of timm's form that we do not have.
    """
    is_timms = name in list_models() or re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*_patch\d+.*_\d{3}", name)
    return _our_name(name) if is_timms else None


def _our_name(architecture: str) -> str:
    name = architecture.partition(".")[0]  # a tag such as ".augreg_in1k" names weights, not a model
    name = name.replace("levit_conv_", "levit_")  # the same model, whose linear layers are 1×1 convolutions
    if name not in list_models():
        raise VitrailError(
            f"this is a {name} of timm, which vitrail does not have, and a model of nearly the same name gives other "
            f"outputs ({nearest(name, list_models())}): choose one of `vitrail models`"
        )
    return name


def _arguments(name: str, row: ModelConfig, values: Mapping[str, Any]) -> dict[str, Any]:
    """Config fields that `model_args` give.

    Raises:
        VitrailError: an argument that is not timm's default, and that our config has no field for.
    """
    valid = {field.name for field in fields(row)}
    given, others = {}, []
    for key, value in values.items():
        field = next((name for name in (key, SYNONYMS.get(key), f"{key}s") if name in valid), key)
        if key in _HARMLESS or (key in _DEFAULTS and value == _DEFAULTS[key]):
            continue
        if field in valid and _is_plain(value):
            given[field] = tuple(value) if isinstance(value, list) else value
        else:
            others.append(f"{key}={value!r}")
    if others:
        raise VitrailError(
            f"this {name} of timm was built with {', '.join(others)}, and {type(row).__name__} has no such field: "
            "only models without it are supported"
        )
    return given


def _is_plain(value: Any) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, list) and all(map(_is_plain, value)))


def _pool(name: str, row: ModelConfig, pool: Any, classes: Any) -> dict[str, str]:
    """Pool of a timm model as a config field of our variant, if its family has that field.

    Raises:
        VitrailError: another pool than the family's, or none, before a classifier.
    """
    both = isinstance(row, ViTConfig | DINOv3Config | EVAConfig | RotaryViTConfig)
    if both and pool in _POOLS:
        return {"pool": _POOLS[pool]}
    usual = _usual_pool(name)
    known = tuple(_POOLS) if both else (usual,) if usual else (pool,)
    if pool is not None and pool not in known and not (pool == "" and classes == 0):
        words = " and ".join(map(repr, known))
        raise VitrailError(f"this {name} of timm pools with {pool!r}: only {words} is supported")
    return {}


def _usual_pool(name: str) -> str | None:
    if "_siglip_" in name:
        return "avg" if "_gap_" in name else "map"
    if "_map_" in name:
        return "map"
    family = next((key for key, family in families().items() if name in family.variants), "")
    return "token" if family == "vit" else _FAMILY_POOLS.get(family)


def timm_preprocess(name: str, pretrained: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `Preprocess` from `pretrained_cfg`.

    Raises:
        VitrailError: a crop or an interpolation that `Preprocess` does not have.
    """
    size, mode = pretrained.get("input_size"), pretrained.get("crop_mode") or "center"
    interpolation = pretrained.get("interpolation")
    if mode not in ("center", "squash"):
        raise VitrailError(f"{name} has crop_mode {mode!r}: only 'center' and 'squash' are supported")
    if interpolation not in (None, *_INTERPOLATIONS):
        raise VitrailError(f"{name} has interpolation {interpolation!r}: supported are {', '.join(_INTERPOLATIONS)}")
    return known_only(
        {
            "image_size": tuple(size[1:]) if size else None,
            "crop": pretrained.get("crop_pct"),
            "stretch": True if mode == "squash" else None,
            "interpolation": interpolation,
            "mean": tuple(pretrained["mean"]) if pretrained.get("mean") else None,
            "std": tuple(pretrained["std"]) if pretrained.get("std") else None,
        }
    )


def _class_names(names: Any) -> tuple[str, ...]:
    """Names by output; timm also writes a dictionary index -> name, whose gaps leave outputs without names."""
    if isinstance(names, Mapping):
        numbers = {int(index): str(name) for index, name in names.items()}
        complete = sorted(numbers) == list(range(len(numbers)))
        return tuple(numbers[index] for index in sorted(numbers)) if complete else ()
    return tuple(map(str, names or ()))
