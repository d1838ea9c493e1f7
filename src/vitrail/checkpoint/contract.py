"""The checkpoint: the one contract between commands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.preprocess import Preprocess
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel
from ..task_spec import TaskSpec
from .adapt import adapt
from .atomic import Content
from .build import build, check_class_names, check_tensors
from .document import Stored, complete_info
from .hub import Say, to_stderr
from .native import write_native
from .read import read


@dataclass(slots=True)
class Checkpoint:
    """A model with all that is needed to use it.

    Attributes:
        model: in evaluation mode when loaded.
        class_names: in the order of the logits; empty when unknown.
        preprocess: how an image becomes pixels.
        info: plain JSON values: "architecture" (variant name or "custom"), "origin",
            "license", "metrics", "adapted" (sentences on what loading changed), and whatever else
            is put there.
        path: where it was loaded from, for what lies around it there, such as its run's splits; not saved.
    """

    model: BaseVisionModel[ModelConfig]
    class_names: tuple[str, ...]
    preprocess: Preprocess
    info: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

    @property
    def config(self) -> ModelConfig:
        """The frozen config that built the model."""
        return self.model.config

    @property
    def task(self) -> TaskSpec:
        """What the model's outputs mean."""
        return self.config.task


def load(source: str | Path, *, architecture: str | None = None, say: Say = to_stderr, **overrides: Any) -> Checkpoint:
    """Load a checkpoint: ours, or weights of timm, transformers, torchvision and the official releases.

    Args:
        source: a run folder (its best checkpoint), a checkpoint folder or file, or foreign weights as a file,
            a folder or a hub id such as "timm/vit_base_patch16_224.augreg_in1k".
        architecture: the variant of bare foreign weights, needed where the shapes of the tensors fit several.
        say: gets a sentence with the licence before anything is downloaded.
        overrides: config fields to change. `num_classes` gives a fresh head, `image_size` resamples the
            positions, `patch_size` resizes the filters too, `in_channels` adapts the first convolution;
            `info["adapted"]` lists what was done.

    Raises:
        VitrailError: unknown source or field, or tensors that are missing, unexpected or of a wrong shape.
        DamagedCheckpoint: the files are not what was written.
    """
    stored = adapt(read(source, architecture, overrides, say), overrides)
    check_class_names(stored.class_names, stored.config)
    model = build(stored)
    info = complete_info(stored.info, stored.config)
    path = Path(source) if Path(source).exists() else None
    return Checkpoint(model, stored.class_names, stored.preprocess, info, path)


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
        model.config,
        model.state_dict(),
        checkpoint.class_names,
        checkpoint.preprocess,
        checkpoint.info,
        rewrites=model.rewrites,
    )
    check_class_names(stored.class_names, stored.config)
    check_tensors(stored)
    write_native(stored, Path(path), extra or {})
