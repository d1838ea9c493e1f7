"""Checkpoint, `load` and `save`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..data.preprocess import Preprocess
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel
from ..progress import Say, to_stderr
from ..task_spec import TaskSpec
from .adapt import adapt
from .atomic import Content
from .build import build, check_class_names, check_tensors
from .document import Stored, complete_info
from .native import write_native
from .read import read


@dataclass(slots=True)
class Checkpoint:
    """A model with everything that is needed to use it.

    Attributes:
        model: the model; in evaluation mode if loaded.
        class_names: names in the order of the outputs; empty if unknown.
        preprocess: the preprocessing, image -> pixels; its `frames` are those of the model.
        info: plain JSON values: "architecture" (variant name or "custom"), "origin" and "trained_on" (see `origin`),
            "license", "metrics", "adapted" (sentences on what loading changed), "optimizer" of its training here, and
            further values of the user.
        path: where it was loaded from, to find other files such as its run's splits; not saved.
        tokenizer: content of the `tokenizer.json` of a model that takes texts, see `texts.tokenizer_of`; None if there
            is none.
    """

    model: BaseVisionModel[ModelConfig]
    class_names: tuple[str, ...]
    preprocess: Preprocess
    info: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    tokenizer: str | None = None

    def __post_init__(self) -> None:
        if self.preprocess.frames != self.config.frames:
            self.preprocess = replace(self.preprocess, frames=self.config.frames)

    @property
    def config(self) -> ModelConfig:
        """The frozen config that built the model."""
        return self.model.config

    @property
    def task(self) -> TaskSpec:
        """The task of the model."""
        return self.config.task


CheckpointLike = Checkpoint | str | os.PathLike[str]
"""A checkpoint, or what `load` takes."""


def as_checkpoint(given: CheckpointLike) -> Checkpoint:
    """Return a checkpoint, loading it if a name or a path is given."""
    return given if isinstance(given, Checkpoint) else load(os.fspath(given))


def path_of(given: CheckpointLike) -> Path | None:
    """Path of a checkpoint, by which the splits of its run are found; None if it was not loaded from one."""
    return given.path if isinstance(given, Checkpoint) else Path(given)


def load(source: str | Path, *, architecture: str | None = None, say: Say = to_stderr, **overrides: Any) -> Checkpoint:
    """Load a checkpoint of vitrail, or weights of timm, transformers, torchvision and the official releases.

    Floating-point tensors of any dtype are loaded as float32.

    Args:
        source: a run folder (its best checkpoint), a checkpoint folder or file, or foreign weights as a file,
            a folder or a hub id such as "timm/vit_base_patch16_224.augreg_in1k".
        architecture: variant of bare foreign weights, needed if the shapes of the tensors fit several.
        say: receives a sentence with the licence before anything is downloaded.
        overrides: config fields to change. `num_classes` initialises a fresh head, `image_size` resamples the
            positions, `patch_size` resizes the filters too, `in_channels` adapts the first convolution. For bare
            foreign weights, `num_heads` and the `image_size` of images that were not square complete the shapes.
            `info["adapted"]` lists the changes, and what was assumed.

    Raises:
        VitrailError: unknown source or field, or missing or unexpected tensors, or tensors of a wrong shape.
        DamagedCheckpoint: the files differ from what was written.
    """
    stored = load_stored(source, overrides, architecture=architecture, say=say)
    return build_checkpoint(stored, overrides, Path(source) if Path(source).exists() else None)


def load_stored(
    source: str | Path, known: Mapping[str, Any], *, architecture: str | None = None, say: Say = to_stderr
) -> Stored:
    """The first half of `load`: read config and tensors, without a model.

    Args:
        source, architecture, say: see `load`.
        known: config fields that complete the shapes of bare foreign weights; others are not changed.
    """
    stored = read(source, architecture, dict(known), say)
    # A dtype on disk is a storage format; what a model computes in is chosen by the engine.
    state = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in stored.state.items()}
    return replace(stored, state=state)


def build_checkpoint(stored: Stored, overrides: Mapping[str, Any], path: Path | None = None) -> Checkpoint:
    """The second half of `load`: adapt what was read, and build the model.

    Args:
        stored: what `load_stored` returned; tensors that are not adapted become those of the model.
        overrides: config fields to change, see `load`.
        path: where it was read from, see `Checkpoint.path`.
    """
    stored = adapt(stored, dict(overrides))
    check_class_names(stored.class_names, stored.config)
    model = build(stored)
    info = complete_info(stored.info, stored.config)
    return Checkpoint(model, stored.class_names, stored.preprocess, info, path, stored.tokenizer)


def save(checkpoint: Checkpoint, path: str | Path, *, extra: Mapping[str, Content] | None = None) -> None:
    """Save to a folder, or to one file if `path` ends in .safetensors; atomic.

    Args:
        checkpoint: the checkpoint; its model must have exactly the tensors that its config builds.
        path: folder or file; an existing checkpoint is replaced.
        extra: further files of the folder, written and verified with it.

    Raises:
        VitrailError: `path` is not a checkpoint, or the model does not fit its config or class names.
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
        tokenizer=checkpoint.tokenizer,
    )
    check_class_names(stored.class_names, stored.config)
    check_tensors(stored)
    write_native(stored, Path(path), extra or {})
