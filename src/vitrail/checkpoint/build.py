"""Build the model of a stored checkpoint from config, rewrites and tensors."""

import torch

from ..errors import VitrailError
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel
from ..rewrites.base import Rewrite
from ..rewrites.registry import replay
from .document import Stored


def build(stored: Stored) -> BaseVisionModel[ModelConfig]:
    """The model of a stored checkpoint, in evaluation mode, with its tensors and their dtype."""
    check_tensors(stored)
    model = blueprint(stored.config, stored.rewrites)
    model.load_state_dict(stored.state, strict=True, assign=True)
    return model.eval()


def blueprint(config: ModelConfig, rewrites: tuple[Rewrite, ...] = ()) -> BaseVisionModel[ModelConfig]:
    """The model on the meta device, without memory or weights, rewritten; VitrailError if it cannot be built."""
    try:
        with torch.device("meta"):
            return replay(config.build(), rewrites)
    except VitrailError:
        raise
    except ValueError as error:  # of a building block, which does not know the config
        raise VitrailError(f"{type(config).__name__} cannot be built: {error}") from None


def check_tensors(stored: Stored) -> None:
    """Raise VitrailError unless names and shapes of the tensors are exactly those of the architecture."""
    expected = blueprint(stored.config, stored.rewrites).state_dict()
    missing = [name for name in expected if name not in stored.state]
    unexpected = [name for name in stored.state if name not in expected]
    wrong = [
        f"{name} {tuple(stored.state[name].shape)} for {tuple(expected[name].shape)}"
        for name in expected
        if name in stored.state and stored.state[name].shape != expected[name].shape
    ]
    groups = {"missing": missing, "unexpected": unexpected, "of a wrong shape": wrong}
    faults = [f"{kind}: {', '.join(names)}" for kind, names in groups.items() if names]
    if faults:
        kind = type(stored.config).__name__
        raise VitrailError(f"the weights do not fit {kind}: {'; '.join(faults)}; check the architecture")


def check_class_names(class_names: tuple[str, ...], config: ModelConfig) -> None:
    """Raise VitrailError unless there is one name for each output, or none at all."""
    if class_names and len(class_names) != config.num_outputs:
        raise VitrailError(
            f"{len(class_names)} class names for num_classes {config.num_outputs}: give one for each, or none"
        )
