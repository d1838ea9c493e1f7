"""Checks of transformers' config.json for values that our models do not support."""

from collections.abc import Mapping
from typing import Any

from ...errors import VitrailError


def expect(card: Mapping[str, Any], **values: Any) -> None:
    """Raise VitrailError if a field is present with another value."""
    for name, value in values.items():
        if card.get(name, value) != value:
            raise VitrailError(f"these weights have {name} {card[name]!r}: only {value!r} is supported")


def uniform(card: Mapping[str, Any], name: str) -> Any:
    """Return the common value of a field with one for each stage; VitrailError if they differ."""
    first, *others = card[name]
    if any(value != first for value in others):
        raise VitrailError(f"these weights have {name} {card[name]!r}: only equal values in all stages are supported")
    return first


def vit_fields(card: Mapping[str, Any]) -> dict[str, Any]:
    """Config fields from transformers' configuration of a plain encoder."""
    return {
        "image_size": card["image_size"],
        "patch_size": card["patch_size"],
        "embed_dim": card["hidden_size"],
        "depth": card["num_hidden_layers"],
        "num_heads": card["num_attention_heads"],
        "mlp_ratio": card["intermediate_size"] / card["hidden_size"],
        "norm_eps": card["layer_norm_eps"],
    }
