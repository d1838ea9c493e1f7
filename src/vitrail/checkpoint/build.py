"""Build the model of a stored checkpoint from config, rewrites and tensors."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import VitrailError
from ..models.fields import ModelConfig, pair
from ..nn import BaseVisionModel, Tokens
from ..nn.init import without_weights
from ..rewrites.base import Rewrite
from ..rewrites.registry import replay
from .document import Stored
from .refuse import refused

_NAMED = 12
"""Number of tensors that an error lists of each kind."""


def build(stored: Stored) -> BaseVisionModel[ModelConfig]:
    """The model of a stored checkpoint, in evaluation mode, with its tensors and their dtype."""
    model = blueprint(stored.config, stored.rewrites)
    _check_tensors(stored, model.state_dict())
    model.load_state_dict(stored.state, strict=True, assign=True)
    return model.eval()


def blueprint(config: ModelConfig, rewrites: tuple[Rewrite, ...] = ()) -> BaseVisionModel[ModelConfig]:
    """The model on the meta device, without memory or weights, rewritten."""
    with refused(type(config).__name__), without_weights():
        return replay(config.build(), rewrites)


def output_tokens(config: ModelConfig) -> Tokens:
    """Tokens of the encoder for one image, on the meta device: their grid and width.

    Raises:
        VitrailError: the encoder returns the tokens of several levels.
    """
    tokens = _features(config)
    if not isinstance(tokens, Tokens):
        raise VitrailError(f"{type(config).__name__} has features of several levels, and this needs one sequence")
    return tokens


def _features(config: ModelConfig) -> Any:
    with torch.no_grad():
        return blueprint(config).eval().forward_features(config.example_inputs(device="meta")[0])


def stride_of(config: ModelConfig) -> tuple[int, int]:
    """(height, width) in pixels of a cell of the grid of the encoder's output, of several the coarsest; found on the
    meta device.

    Images whose sides are multiples of it fit every classifier.
    """
    config = config.densest()
    tokens = _features(config)
    coarsest: Tokens = tokens if isinstance(tokens, Tokens) else min(tokens, key=lambda level: level.grid)
    (height, width), (rows, columns) = pair(config.image_size), coarsest.grid[-2:]
    return height // rows, width // columns


def check_tensors(stored: Stored) -> None:
    """Raise VitrailError unless names and shapes of the tensors are exactly those of the architecture."""
    _check_tensors(stored, blueprint(stored.config, stored.rewrites).state_dict())


def _check_tensors(stored: Stored, expected: Mapping[str, Tensor]) -> None:
    missing = [name for name in expected if name not in stored.state]
    unexpected = [name for name in stored.state if name not in expected]
    wrong = [
        f"{name} {tuple(stored.state[name].shape)} for {tuple(expected[name].shape)}"
        for name in expected
        if name in stored.state and stored.state[name].shape != expected[name].shape
    ]
    groups = {"missing": missing, "unexpected": unexpected, "of a wrong shape": wrong}
    faults = [f"{kind}: {few(names)}" for kind, names in groups.items() if names]
    if faults:
        kind = type(stored.config).__name__
        raise VitrailError(f"the weights do not fit {kind}: {'; '.join(faults)}; check the architecture")


def few(names: list[str]) -> str:
    """The first names of tensors for a message, and the number of the others."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def check_class_names(class_names: tuple[str, ...], config: ModelConfig) -> None:
    """Raise VitrailError unless there is one name for each output, or none at all."""
    if class_names and len(class_names) != config.num_outputs:
        raise VitrailError(
            f"{len(class_names)} class names for num_classes {config.num_outputs}: give one for each, or none"
        )
