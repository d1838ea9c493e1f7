"""An image encoder with trained weights as a part of a model of images and texts, beside a fresh text encoder."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..checkpoint.document import Stored, architecture_name
from ..errors import VitrailError
from ..models.around_encoder import AroundEncoder, fields_around
from ..models.compact import CompactViTConfig
from ..models.compact_clip import CompactCLIPConfig
from ..models.fields import ModelConfig, shared_fields
from ..models.lit import LiTConfig, without_vector
from ..models.text import TextFields
from .encoders import require_unchanged

TEXT_ENCODER = ("text_dim", "text_depth", "text_heads", "text_mlp_ratio", "joint_dim")
"""Fields of the fresh parts, which the recipe may set."""

_CLASSIFIER = ("head.classify.", "head.distill.")
"""Tensors of classifiers, in whose place the fresh projection is."""


def with_text_encoder(stored: Stored, fields: Mapping[str, Any], *, sigmoid: bool, tokenizer: str | None) -> Stored:
    """Weights of a model of images and texts whose image encoder is that of a checkpoint.

    The text encoder and both projections are fresh, from torch's generator. As Zhai et al. (2022), "LiT", section 4,
    found, the image encoder may stay as it is: freeze image.embed.* and image.encoder.*.

    Args:
        stored: a classifier, an encoder without classes, or a pre-training by mae; a model of images and texts is
            returned as it is.
        fields: fields of the text encoder for the captions, see `Task.model_fields`, and those of `TEXT_ENCODER`.
        sigmoid: see `LiTConfig`.
        tokenizer: content of the tokenizer for the captions.

    Raises:
        VitrailError: the model has no vector of an image, or was changed after it was built.
    """
    if isinstance(stored.config, TextFields):
        return stored
    require_unchanged(stored, "a text encoder beside it")
    images = stored.config.fine_tuned() or stored.config
    weights = stored.state if images is stored.config else stored.config.fine_tuned_state(stored.state)
    if isinstance(images, AroundEncoder):
        raise without_vector(images)
    config = _config(images, {**fields, "sigmoid": sigmoid})
    try:
        state = dict(config.build().state_dict())
    except ValueError as error:
        raise VitrailError(f"the text encoder of the recipe's overrides cannot be built: {error}") from error
    own = {f"image.{name}": tensor for name, tensor in weights.items() if not name.startswith(_CLASSIFIER)}
    state |= {name: tensor for name, tensor in own.items() if name in state}
    notes = [f"a fresh text encoder was put beside the image encoder of a model for {stored.config.task.name}"]
    fresh = [name for name in state if name.startswith("image.") and name not in own and ".classify." not in name]
    notes += [f"newly initialised: {', '.join(fresh)}"] if fresh else []
    info = {
        **stored.info,
        "architecture": architecture_name(config),
        "adapted": [*stored.info.get("adapted", []), *notes],
    }
    return replace(stored, config=config, state=state, class_names=(), info=info, tokenizer=tokenizer)


def _config(images: ModelConfig, fields: Mapping[str, Any]) -> ModelConfig:
    if not isinstance(images, CompactViTConfig):
        return LiTConfig(**fields_around(images), **fields)
    shared = {name: value for name, value in shared_fields(images, CompactCLIPConfig).items() if name != "task"}
    return CompactCLIPConfig(**{**shared, **fields})
