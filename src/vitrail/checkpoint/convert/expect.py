"""Checks of transformers' config.json: values that our models do not have are errors."""

from collections.abc import Mapping
from typing import Any

from ...errors import VitrailError


def expect(card: Mapping[str, Any], **values: Any) -> None:
    """Raise VitrailError where a field is there and has another value."""
    for name, value in values.items():
        if card.get(name, value) != value:
            raise VitrailError(f"these weights have {name} {card[name]!r}: read are those with {value!r}")


def uniform(card: Mapping[str, Any], name: str) -> Any:
    """The value of a field that has one for each stage, where all are the same; VitrailError where they are not."""
    first, *others = card[name]
    if any(value != first for value in others):
        raise VitrailError(f"these weights have {name} {card[name]!r}: read are those with the same in every stage")
    return first


def vit_fields(card: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of our configs from transformers' configuration of a plain encoder."""
    return {
        "image_size": card["image_size"],
        "patch_size": card["patch_size"],
        "embed_dim": card["hidden_size"],
        "depth": card["num_hidden_layers"],
        "num_heads": card["num_attention_heads"],
        "mlp_ratio": card["intermediate_size"] / card["hidden_size"],
        "norm_eps": card["layer_norm_eps"],
    }
