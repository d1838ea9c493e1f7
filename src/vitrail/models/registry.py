"""The list of models: the families' tables, joined."""

from collections.abc import Mapping
from dataclasses import fields, replace
from fnmatch import fnmatch
from typing import Any, TypeVar

from ..errors import VitrailError, nearest
from ..nn import AnyVisionModel
from . import (
    adaptive,
    beit,
    cait,
    clip,
    cnn,
    compact,
    convnext,
    cvt,
    deit,
    detr,
    dino,
    dinov2,
    dinov3,
    dpt,
    flexivit,
    hybrid,
    levit,
    mae,
    mixer,
    parallel_vit,
    pvt,
    pvt_v2,
    segformer,
    siglip,
    simple_vit,
    swin,
    swin_v2,
    timesformer,
    universal,
    videomae,
    vit,
    vit_attention,
    vitc,
)
from .aliases import paper_name
from .fields import ModelConfig

ConfigT = TypeVar("ConfigT", bound=ModelConfig)


FAMILIES: dict[str, Mapping[str, ModelConfig]] = {
    "vit": vit.VARIANTS,
    "simple_vit": simple_vit.VARIANTS,
    "deit": deit.VARIANTS,
    "compact": compact.VARIANTS,
    "adaptive": adaptive.VARIANTS,
    "beit": beit.VARIANTS,
    "cait": cait.VARIANTS,
    "clip": clip.VARIANTS,
    "cnn": cnn.VARIANTS,
    "convnext": convnext.VARIANTS,
    "cvt": cvt.VARIANTS,
    "detr": detr.VARIANTS,
    "dino": dino.VARIANTS,
    "dinov2": dinov2.VARIANTS,
    "dinov3": dinov3.VARIANTS,
    "dpt": dpt.VARIANTS,
    "flexivit": flexivit.VARIANTS,
    "hybrid": hybrid.VARIANTS,
    "levit": levit.VARIANTS,
    "mae": mae.VARIANTS,
    "mixer": mixer.VARIANTS,
    "parallel_vit": parallel_vit.VARIANTS,
    "pvt": pvt.VARIANTS,
    "pvt_v2": pvt_v2.VARIANTS,
    "segformer": segformer.VARIANTS,
    "siglip": siglip.VARIANTS,
    "swin": swin.VARIANTS,
    "swin_v2": swin_v2.VARIANTS,
    "timesformer": timesformer.VARIANTS,
    "universal": universal.VARIANTS,
    "videomae": videomae.VARIANTS,
    "vit_attention": vit_attention.VARIANTS,
    "vitc": vitc.VARIANTS,
}
CONFIGS: dict[str, type[ModelConfig]] = {
    type(row).__name__: type(row) for table in FAMILIES.values() for row in table.values()
}


def list_models(pattern: str = "*") -> list[str]:
    """Variant names that match a shell pattern, such as "deit*384", sorted."""
    return sorted(name for table in FAMILIES.values() for name in table if fnmatch(name, pattern))


def model_config(name: str, **overrides: Any) -> ModelConfig:
    """The frozen config of a variant, with fields replaced; nothing is built yet.

    Raises:
        VitrailError: an unknown name or field; the message gives the nearest valid one.
    """
    variant = canonical_name(name)
    table = next(table for table in FAMILIES.values() if variant in table)
    return override(table[variant], overrides, variant)


def create_model(name: str, **overrides: Any) -> AnyVisionModel:
    """Build a variant with fresh weights: `create_model("vit_tiny_patch16_224", num_classes=10, image_size=96)`.

    Args:
        name: a variant ("vit_base_patch16_224"), or a paper's name ("ViT-B/16", "DeiT-S").
        overrides: fields of the family's config, such as num_classes, image_size, in_channels, drop_path.
    """
    return model_config(name, **overrides).build()


def override(config: ConfigT, overrides: Mapping[str, Any], name: str) -> ConfigT:
    """The config with fields replaced.

    `num_classes` makes a classifier of a config whose task is "embedding", and 0 the other way round, unless `task` is
    given too.

    Raises:
        VitrailError: an unknown field; the message gives the nearest valid one.
    """
    valid = [field.name for field in fields(config)]
    for key in overrides:
        if key not in valid:
            raise VitrailError(f"{name} has no field {key!r}: {nearest(key, valid)}")
    changes = config.classifier_changes() if overrides.get("num_classes") else {}
    return replace(config, **{**changes, **overrides})


def canonical_name(name: str) -> str:
    """The variant that a name means; papers' names resolve too, such as "ViT-B/16" and "Swin-T"; see `aliases`."""
    names = list_models()
    if name in names:
        return name
    alias = paper_name(name)
    if alias in names:
        return alias
    raise VitrailError(f"there is no model {name!r}: {nearest(alias, names)}; `vitrail models` lists all")
