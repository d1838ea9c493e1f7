"""Configs of models around the encoder of another config."""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import VitrailError
from ..nn.init import without_weights
from ..task_spec import EMBEDDING
from .fields import ModelConfig

_SHARED = ("image_size", "in_channels", "drop_path", "dropout")


@dataclass(frozen=True, kw_only=True)
class AroundEncoder(ModelConfig):
    """Fields of a model with the encoder of another config.

    Attributes:
        encoder: config of the encoder, whose head is left out. Its image size, channels and rates are those given here.
        drop_path, dropout: see `EncoderFields`.
    """

    __slots__ = ()

    encoder: ModelConfig
    drop_path: float = 0.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        ModelConfig.__post_init__(self)
        if not isinstance(self.encoder, ModelConfig) or isinstance(self.encoder, AroundEncoder):
            raise VitrailError(f"encoder is a {type(self.encoder).__name__}: give the config of a ViT")
        known = {field.name for field in fields(self.encoder)}
        wanted = {name: getattr(self, name) for name in _SHARED} | {"num_classes": 0, "task": EMBEDDING}
        own = {name: value for name, value in wanted.items() if name in known}
        object.__setattr__(self, "encoder", replace(self.encoder, **own))


def fields_around(encoder: ModelConfig) -> dict[str, Any]:
    """The config of an encoder, and its fields that the model around it has too."""
    known = {field.name for field in fields(encoder)}
    return {"encoder": encoder, **{name: getattr(encoder, name) for name in _SHARED if name in known}}


def image_vector(config: ModelConfig) -> Tensor:
    """Embedding of one image, (1, D), on the meta device."""
    with without_weights(), torch.no_grad():
        return config.build().eval().embed_images(config.example_inputs(device="meta")[0])


def embedded(config: ModelConfig) -> Any:
    """Output of a model's embedding for one image, on the meta device."""
    with without_weights(), torch.no_grad():
        return config.build().eval().get_submodule("embed")(config.example_inputs(device="meta")[0])
