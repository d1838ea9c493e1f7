"""Models by name: `create_model`, `list_models` and `model_config`."""

from collections.abc import Mapping
from dataclasses import fields, replace
from fnmatch import fnmatch
from typing import Any, TypeVar

from ..errors import VitrailError, nearest
from ..nn import BaseVisionModel
from ..typed import convert
from .families import families, find_variant, variant_names
from .fields import BlockFields, ModelConfig, config_types
from .paper_names import paper_name

ConfigT = TypeVar("ConfigT", bound=ModelConfig)

SYNONYMS = {
    **dict.fromkeys(("num_layers", "n_layers", "layers", "num_hidden_layers", "num_blocks"), "depth"),
    **dict.fromkeys(("img_size", "input_size", "resolution", "size"), "image_size"),
    **dict.fromkeys(("in_chans", "channels", "num_channels", "input_channels"), "in_channels"),
    **dict.fromkeys(("hidden_size", "hidden_dim", "dim", "d_model", "emb_dim", "embedding_dim", "width"), "embed_dim"),
    **dict.fromkeys(("n_heads", "heads", "nhead", "num_attention_heads"), "num_heads"),
    **dict.fromkeys(("n_classes", "classes", "num_labels", "n_outputs"), "num_classes"),
    **dict.fromkeys(("patch", "patch_dim"), "patch_size"),
    **dict.fromkeys(("mlp_dim", "intermediate_size", "hidden_features"), "mlp_ratio"),
    **dict.fromkeys(("drop_path_rate", "stochastic_depth", "droppath"), "drop_path"),
    **dict.fromkeys(("drop_rate", "dropout_rate", "hidden_dropout_prob", "p_dropout"), "dropout"),
    **dict.fromkeys(("global_pool", "pooling", "pool_type"), "pool"),
    **dict.fromkeys(("init_values", "layerscale"), "layer_scale"),
    **dict.fromkeys(("eps", "layer_norm_eps"), "norm_eps"),
}
"""Field name in other libraries and papers -> our name, for suggestions in error messages."""


_WEIGHTS = ("pretrained", "weights", "checkpoint", "checkpoint_path", "pretrained_cfg")
"""Arguments of other libraries that ask for trained weights."""


def list_models(pattern: str = "*") -> list[str]:
    """Sorted names of the variants that match a shell pattern, such as "deit*384"."""
    return [name for name in variant_names() if fnmatch(name, pattern)]


def model_config(name: str, **overrides: Any) -> ModelConfig:
    """Return the frozen config of a variant, with fields replaced; nothing is built.

    Raises:
        VitrailError: unknown name or field; the message suggests the nearest valid one.
    """
    variant = canonical_name(name)
    config = find_variant(variant)
    assert config is not None, variant
    return override(config, overrides, variant)


def create_model(name: str, **overrides: Any) -> BaseVisionModel[ModelConfig]:
    """Build a variant with fresh weights: `create_model("vit_tiny_patch16_224", num_classes=10, image_size=96)`.

    Args:
        name: name of a variant ("vit_base_patch16_224"), or of a model in a paper ("ViT-B/16", "DeiT-S").
        overrides: fields of the family's config, such as num_classes, image_size, in_channels, drop_path.

    Raises:
        VitrailError: unknown name or field, or an invalid value.
    """
    config = model_config(name, **overrides)
    try:
        return config.build()
    except VitrailError:
        raise
    except ValueError as error:  # of a building block, which knows neither the name nor this class of errors
        raise VitrailError(f"{name} cannot be built: {error}") from None


def override(config: ConfigT, overrides: Mapping[str, Any], name: str) -> ConfigT:
    """Return the config with fields replaced.

    `num_classes` turns a config with the task "embedding" into a classifier, and 0 does the reverse, unless `task` is
    given too.

    Raises:
        VitrailError: unknown field; the message suggests the nearest valid one. Or a value of the wrong type.
    """
    valid = [field.name for field in fields(config)]
    for key in overrides:
        if key not in valid:
            ours = SYNONYMS.get(key)
            hint = f"did you mean {ours}?" if ours in valid else nearest(key, valid)
            if key.startswith("block_") and key in [field.name for field in fields(BlockFields)]:
                hint = "its blocks cannot have widths of their own; those of ViT, DINOv2, BEiT, CLIP and others can"
            if key in _WEIGHTS:
                hint = "create_model gives random weights; vitrail.load(hub id or path) gives trained ones"
            raise VitrailError(f"{name} has no field {key!r}: {hint}")
    changes = config.classifier_changes() if overrides.get("num_classes") else {}
    made = replace(config, **{**changes, **overrides})  # first, for the more specific messages of its checks
    types = config_types(type(config))
    return replace(made, **{key: convert(types[key], value, f"{key} of {name}") for key, value in overrides.items()})


def canonical_name(name: str) -> str:
    """Variant for a name; names in papers, such as "ViT-B/16" and "Swin-T", are resolved.

    Raises:
        VitrailError: unknown name; the message lists the family's variants, or suggests the nearest name.
    """
    names = variant_names()
    if not isinstance(name, str):
        raise VitrailError(f"a model is named by a text, not by {name!r}: `vitrail models` lists all")
    if name in names:
        return name
    alias = paper_name(name)
    if alias in names:
        return alias
    family = next((family for key, family in families().items() if _letters(key) == _letters(name)), None)
    hint = f"choose one of {', '.join(family.variants)}" if family else nearest(alias, names)
    raise VitrailError(f"there is no model {name!r}: {hint}; `vitrail models` lists all")


def is_model_name(name: str) -> bool:
    """Whether a name is that of a variant or of a model in a paper, which may look like a hub id: "ViT-B/16"."""
    names = variant_names()
    return name in names or paper_name(name) in names


def _letters(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())
