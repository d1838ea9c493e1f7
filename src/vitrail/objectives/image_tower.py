"""An image encoder with trained weights as a part of a model of images and texts, beside a fresh text encoder."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..checkpoint.document import Stored, architecture_name
from ..models.compact import CompactViTConfig
from ..models.compact_clip import CompactCLIPConfig
from ..models.fields import shared_fields


def with_text_encoder(
    stored: Stored, fields: Mapping[str, Any], *, sigmoid: bool, tokenizer: str | None
) -> Stored | None:
    """Weights of a model of images and texts whose image encoder is that of a checkpoint.

    The text encoder and both projections are fresh, from torch's generator. As Zhai et al. (2022), "LiT", section 4,
    found, the image encoder may stay as it is: freeze image.embed.* and image.encoder.*.

    Args:
        stored: a classifier, or an encoder without classes.
        fields: fields of the text encoder for the captions, see `Task.model_fields`.
        sigmoid: see `CompactCLIPConfig`.
        tokenizer: content of the tokenizer for the captions.

    Returns:
        None if it is no compact model, or one that was changed after it was built.
    """
    if not isinstance(stored.config, CompactViTConfig) or stored.rewrites:
        return None
    shared = {name: value for name, value in shared_fields(stored.config, CompactCLIPConfig).items() if name != "task"}
    config = CompactCLIPConfig(**{**shared, **fields, "sigmoid": sigmoid})
    state = dict(config.build().state_dict())
    for name, tensor in stored.state.items():
        if not name.startswith("head."):
            state[f"image.{name}"] = tensor
    note = f"a fresh text encoder was put beside the image encoder of a model for {stored.config.task.name}"
    info = {
        **stored.info,
        "architecture": architecture_name(config),
        "adapted": [*stored.info.get("adapted", []), note],
    }
    return replace(stored, config=config, state=state, class_names=(), info=info, tokenizer=tokenizer)
