"""Distillation runs: `distill_from_teacher` and `store_logits`."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from ..checkpoint.contract import Checkpoint, load
from ..checkpoint.native import tensors_digest
from ..data.open import SourceLike
from ..engines.precision import on_device, place_model, reduced_precision
from ..errors import VitrailError
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel
from ..objectives.distill import DistillConfig
from ..objectives.stored_logits import LogitFacts, has_epoch, read_facts, write_epoch, write_facts
from ..objectives.supervised import SupervisedConfig
from ..objectives.teachers import Teacher, make_teacher, register_teacher
from ..progress import Say, Track, discard_message, silent
from .reading import reading_of
from .recipe import Recipe, chosen
from .recipe_file import read_recipe
from .resolve import OwnParts, resolve
from .run import Run, train
from .setup import RunSetup
from .training_data import read_data

TeacherLike = str | Path | Checkpoint | nn.Module
"""A checkpoint or its path, a name as in `DistillConfig.teacher`, a folder of stored logits, or a module."""


def distill_from_teacher(
    teacher: TeacherLike,
    student: BaseVisionModel[ModelConfig] | ModelConfig | str | None,
    source: SourceLike,
    *,
    temperature: float = 3.0,
    kind: Literal["soft", "hard"] = "soft",
    weight: float = 0.5,
    recipe: Recipe | str | None = None,
    out: str | Path | None = None,
    skip_bad: bool = False,
    progress: Track = silent,
    say: Say = discard_message,
) -> Run:
    """Train a student on labelled images and on the outputs of a teacher.

    Args:
        teacher: a checkpoint, its path, timm:NAME, a folder of stored logits, or a module that takes the student's
            pixels and returns logits in the order of the student's classes.
        student: a variant's name, a config, or a model; None: that of the recipe.
        source: labelled images, see `train`.
        temperature, kind, weight: see `DistillConfig`.
        recipe: other settings; the options of its objective for labels are kept.
        out, skip_bad, progress, say: see `train`.

    Raises:
        VitrailError: see `train`; or the teacher does not know the student's classes.
    """
    read = read_recipe(recipe) if isinstance(recipe, str) else recipe or Recipe()
    objective = distilling(read, teacher_name(teacher), kind=kind, temperature=temperature, weight=weight)
    if note := changed_teacher(objective):
        say(f"note: {note}")
    return train(
        source, read, model=student, objective=objective, out=out, skip_bad=skip_bad, progress=progress, say=say
    )


def teacher_name(teacher: TeacherLike) -> str:
    """Name of a teacher in a recipe; a checkpoint or module from Python is registered under it."""
    if isinstance(teacher, str | Path):
        return str(teacher)
    kind = teacher.config if isinstance(teacher, Checkpoint) else teacher
    name = f"python:{type(kind).__name__}"
    register_teacher(name, teacher)
    return name


def distilling(
    recipe: Recipe,
    teacher: str,
    *,
    kind: Literal["soft", "hard"] = "soft",
    temperature: float = 3.0,
    weight: float = 0.5,
) -> DistillConfig:
    """The objective of a recipe, with a teacher besides its options for labels; see `DistillConfig`."""
    given = recipe.objective
    if given is not None and not isinstance(given, SupervisedConfig):
        raise VitrailError(
            f"this recipe is for objective {given.name}, and a distillation learns from classes: use another recipe"
        )
    known = asdict(given) if given else {}
    new = {"teacher": teacher, "kind": kind, "temperature": temperature, "weight": weight}
    return DistillConfig(**{**known, **new})


def changed_teacher(objective: DistillConfig) -> str:
    """A sentence if stored logits are of other weights than their teacher has now; empty if not, or if it is not
    known: only checkpoints on this machine are read."""
    if objective.stored is None:
        return ""
    facts = read_facts(objective.stored)
    if not facts.weights or not Path(facts.teacher).exists():
        return ""
    try:
        weights = tensors_digest(load(facts.teacher).model.state_dict())
    except VitrailError:  # what is there now is no checkpoint
        return ""
    if weights == facts.weights:
        return ""
    return (
        f"the logits in {objective.teacher} are of other weights than {facts.teacher} has now; to learn from these, "
        "store them in a new folder"
    )


def store_logits(
    teacher: TeacherLike,
    source: SourceLike,
    out: str | Path,
    *,
    epochs: int,
    recipe: Recipe | str | None = None,
    top_k: int | None = None,
    temperature: float = 3.0,
    skip_bad: bool = False,
    progress: Track = silent,
) -> Path:
    """Compute a teacher's logits for the augmented images of some epochs once, for any number of students.

    A student whose recipe has the same seed, augmentation, image size and splits takes the folder as its teacher; after
    `epochs` epochs its augmented images, not their order, repeat. Epochs that the folder has already are left out, so
    that it can be continued.

    Args:
        teacher: see `distill_from_teacher`.
        source: labelled images; those of the training split are used.
        out: folder to create or to continue.
        epochs: number of epochs.
        recipe: recipe of the students, or its name.
        top_k: number of logits to store for each image, the largest; None: 10, or all if there are no more classes.
        temperature: temperature at which the mass of the other classes is exact.
        skip_bad, progress: see `train`.

    Raises:
        VitrailError: an invalid number, or a folder with other logits, also of other weights of the same teacher.
    """
    if epochs < 1 or (top_k is not None and top_k < 1):
        raise VitrailError(f"{epochs} epochs and top_k {top_k}: use 1 or more of each")
    read = read_recipe(recipe) if isinstance(recipe, str) else recipe or Recipe()
    name = teacher_name(teacher)
    read = replace(read, objective=replace(distilling(read, name), mixup=0.0, cutmix=0.0, sampler="random"))
    with torch.random.fork_rng():
        data = read_data(source, reading_of(read, labelled=True, skip_bad=skip_bad), progress=progress)
        setup = resolve(read, data, OwnParts())
        if chosen(setup.recipe.augment).repeats > 1:
            raise VitrailError("logits are stored once for each image of an epoch: set augment.repeats=1")
        labels = chosen(setup.labels)
        module = make_teacher(name, labels.names, labels.preprocess).eval()
        facts = LogitFacts(
            teacher=name,
            classes=labels.names,
            images=labels.images or "",
            count=len(data.train),
            epochs=epochs,
            top_k=min(top_k or 10, len(labels.names)),
            temperature=temperature,
            weights=tensors_digest(module.model.state_dict()),
        )
        write_facts(Path(out), facts)
        module = place_model(module, setup.device)
        for epoch in progress(range(epochs), epochs, "epochs"):
            if not has_epoch(Path(out), epoch):
                write_epoch(Path(out), facts, epoch, _logits(setup, module, epoch))
    return Path(out)


def _logits(setup: RunSetup, teacher: Teacher, epoch: int) -> Iterator[Tensor]:
    """The teacher's logits for the images of an epoch, in the order of their indices."""
    with torch.inference_mode(), reduced_precision(setup.device, setup.precision):
        for batch in setup.train_loader().once(epoch):
            yield teacher(on_device(batch.pixels, setup.device))
