"""The checkpoint: the one contract between commands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..data.preprocess import Preprocess
from ..errors import VitrailError
from ..models.registry import Config
from ..nn.model import VisionModel
from .adapt import adapt
from .atomic import Content
from .document import Stored, complete_info
from .native import write_native
from .sources import read


@dataclass(slots=True)
class Checkpoint:
    """A model with all that is needed to use it.

    Attributes:
        model: in evaluation mode when loaded.
        class_names: in the order of the logits; empty when unknown.
        preprocess: how an image becomes pixels.
        info: plain JSON values: "architecture" (variant name or "custom"), "task" ("single" or "multi"),
            "origin", "license", "metrics", "adapted" (sentences on what loading changed), and whatever else
            is put there.
    """

    model: VisionModel
    class_names: tuple[str, ...]
    preprocess: Preprocess
    info: dict[str, Any] = field(default_factory=dict)


def load(source: str | Path, *, architecture: str | None = None, **overrides: Any) -> Checkpoint:
    """Load a checkpoint: ours, or weights of timm, transformers, torchvision and the official releases.

    Args:
        source: a run folder (its best checkpoint), a checkpoint folder or file, or foreign weights as a file,
            a folder or a hub id such as "timm/vit_base_patch16_224.augreg_in1k".
        architecture: the variant of bare foreign weights, where their shapes do not tell.
        overrides: config fields to change. `num_classes` gives a fresh head, `image_size` resamples the
            positions, `in_channels` adapts the first convolution; `info["adapted"]` says what was done.

    Raises:
        VitrailError: unknown source or field, or tensors that are missing, unexpected or of a wrong shape.
        DamagedCheckpoint: the files are not what was written.
    """
    stored = adapt(read(source, architecture), overrides)
    check_class_names(stored.class_names, stored.config)
    model = build(stored)
    return Checkpoint(model, stored.class_names, stored.preprocess, complete_info(stored.info, stored.config))


def save(checkpoint: Checkpoint, path: str | Path, *, extra: Mapping[str, Content] | None = None) -> None:
    """Save to a folder, or to one file where `path` ends in .safetensors; a failure leaves the old one.

    Args:
        checkpoint: what to save; its model must have exactly the tensors that its config builds.
        path: the folder or file; a checkpoint that is there is replaced.
        extra: more files of the same folder, written and verified with it.

    Raises:
        VitrailError: `path` holds something else, or the model does not fit its config or class names.
        OSError: the disk is full or fails.
    """
    model = checkpoint.model
    stored = Stored(
        model.config, model.state_dict(), checkpoint.class_names, checkpoint.preprocess, checkpoint.info
    )
    check_class_names(stored.class_names, stored.config)
    check_tensors(stored)
    write_native(stored, Path(path), extra or {})


def build(stored: Stored) -> VisionModel:
    """The model of a stored checkpoint, in evaluation mode, with its tensors and their dtype."""
    check_tensors(stored)
    model = blueprint(stored.config)
    model.load_state_dict(stored.state, strict=True, assign=True)
    return model.eval()


def blueprint(config: Config) -> VisionModel:
    """The model without memory or fresh weights, on the meta device."""
    with torch.device("meta"):
        return config.build()


def check_tensors(stored: Stored) -> None:
    """Every tensor of the architecture is there, in its shape, and nothing else."""
    expected = blueprint(stored.config).state_dict()
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


def check_class_names(class_names: tuple[str, ...], config: Config) -> None:
    """One name for each logit, or none at all."""
    if class_names and len(class_names) != config.num_classes:
        raise VitrailError(
            f"{len(class_names)} class names for num_classes {config.num_classes}: give one for each, or none"
        )
