"""What the report draws: mistakes, equal images with different labels, a training batch."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from ...checkpoint.contract import load
from ...data.fitted import read_fitted
from ...data.open import BadImage
from ...data.samples import Sample
from ...errors import VitrailError
from ...lens.attention_maps import last_layer_map
from ...models.fields import ModelConfig
from ...nn import BaseVisionModel
from ...pages.image import displayable
from ...tasks.outcomes import Mistake, Panel
from ...tasks.task import Task
from ...tasks.universal_labels import UniversalTargets
from ..folder import RunFolder
from ..measure import Scored, predictor_of
from ..setup import RunSetup
from .report import DrawnConflict, DrawnMistake, DrawnSample

_MISTAKES, _BATCH, _CONFLICTS, _MEMBERS = 12, 24, 12, 8


def mistakes(folder: RunFolder, setup: RunSetup, scored: Scored) -> list[DrawnMistake]:
    """The worst mistakes of the best checkpoint, with its attention, or with pictures of truth and prediction."""
    data, (split, part) = setup.data, setup.held_out
    if data.task is None or (scored.output is None and scored.errors is None):
        return []
    model = load(folder.checkpoints / "best").model
    if scored.errors is not None:
        return _drawn_beside(setup, data.task, model, scored.errors)
    task, drawn = setup.task_for(model), []
    for mistake in task.mistakes(scored.output, data.targets(part), data.names, _MISTAKES):
        image = setup.readers[split](mistake.index)
        looked = attention(model, setup.preprocess.normalise(image))
        drawn.append(_drawn(displayable(image), part.samples[mistake.index], mistake, looked=looked))
    return drawn


def _drawn_beside(
    setup: RunSetup, task: Task, model: BaseVisionModel[ModelConfig], errors: Tensor
) -> list[DrawnMistake]:
    """The images with the largest errors, with pictures of truth and prediction."""
    split, part = setup.held_out
    worst = errors.argsort(descending=True, stable=True)[:_MISTAKES].tolist()
    samples, names = [part.samples[index] for index in worst], setup.data.names
    images = torch.stack([setup.readers[split](index) for index in worst])
    (output,) = predictor_of(setup, model).outputs([images])
    targets = task.targets(samples, names)
    drawn = []
    for mistake in task.mistakes(output, targets, names, _MISTAKES):
        image, at = displayable(images[mistake.index]), mistake.index
        panels = task.panels(image, _row(targets, at), _row(output, at), names)
        drawn.append(_drawn(image, samples[at], mistake, panels=panels))
    return drawn


def _drawn(
    image: Tensor, sample: Sample, words: Mistake, *, looked: Tensor | None = None, panels: Sequence[Panel] = ()
) -> DrawnMistake:
    return DrawnMistake(image=image, name=file_name(sample), words=words, attention=looked, panels=panels)


def conflicts(setup: RunSetup) -> list[DrawnConflict]:
    """The first groups of equal images with different labels; without those whose file is gone since the survey."""
    describe, preprocess = setup.data.survey.source.describe, setup.preprocess
    drawn = []
    for group in setup.data.survey.conflicts[:_CONFLICTS]:
        with suppress(BadImage):
            image = read_fitted(replace(group[0], strict=False), preprocess).image
            members = [(file_name(sample), describe(sample.labels)) for sample in group[:_MEMBERS]]
            drawn.append(DrawnConflict(image=displayable(image), members=members))
    return drawn


def file_name(sample: Sample) -> str:
    """Name of a sample; without its folders if they are those of this machine."""
    return Path(sample.name).name if Path(sample.name).is_absolute() else sample.name


def attention(model: nn.Module, pixels: Tensor) -> Tensor | None:
    """Attention of the last layer, (rows, columns); None for a model without attention."""
    try:
        return last_layer_map(model, pixels.unsqueeze(0))[0]
    except VitrailError:
        return None


def batch(setup: RunSetup) -> list[DrawnSample]:
    """The first training batch after augmentation, before mixing, with the labels in words."""
    found = next(setup.train_loader().batches())
    pixels = tree_leaves(found.pixels)[0][:_BATCH]  # the first view if a sample has several
    images = [displayable(setup.preprocess.viewable(image)) for image in pixels]
    task, names = setup.data.task, setup.data.names
    if task is None or found.targets is None:
        return [DrawnSample(image) for image in images]
    drawn = []
    for at, image in enumerate(images):
        target = _row(found.targets, at)
        panels = task.panels(image, target, None, names)
        drawn.append(DrawnSample(panels[0].image if panels else image, task.label_words(target, names)))
    return drawn


def _row(targets: Any, index: int) -> Any:
    """The target of one sample, see `Task.targets`."""
    if isinstance(targets, list):
        return targets[index]
    if isinstance(targets, UniversalTargets):
        return targets.row(index)
    return tree_map_only(Tensor, lambda values: values[index], targets)
