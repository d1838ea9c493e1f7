"""A training step of an objective without data: its root module on the meta device, and a batch of zeros."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from ..data.augment_options import Augment
from ..data.loader import Batch, stacked
from ..data.preprocess import Preprocess
from ..errors import VitrailError
from ..models.fields import ModelConfig, pair
from ..nn import BaseVisionModel
from ..nn.init import without_weights
from ..objectives.augmentation import Augmentation
from ..objectives.objective import Labels, Objective, ObjectiveConfig
from ..objectives.registry import objective_config
from ..tasks.registry import TASKS, resolve
from ..tasks.task import Task


def root_module(objective: ObjectiveConfig, model: BaseVisionModel[ModelConfig]) -> Objective:
    """The objective around a model on the meta device.

    Raises:
        VitrailError: the objective learns from labels, which a plan does not have.
    """
    if not objective.plans(model.config):
        raise VitrailError(
            f"objective {objective.name} learns from labels, and its step costs what the model's does: plan the model "
            "without an objective"
        )
    with without_weights():
        return objective.build(model, example_labels(objective, model.config))


def planned_objective(config: ModelConfig) -> ObjectiveConfig | None:
    """The objective of a model's task, if its step costs more than the model's; None for other tasks."""
    if config.task.name not in TASKS:
        return None
    name = resolve(config.task).objective
    found = objective_config(name)() if name else None
    return found if found is not None and found.plans(config) else None


def example_views(objective: ObjectiveConfig, config: ModelConfig) -> tuple[Any, Any]:
    """The objective's views of an image of zeros, a pytree of pixels (C, H, W), and of an example of a target."""
    preprocess = _preprocess(config)
    target = None
    if objective.tasks:
        task = _task_of(objective, config)
        target = task.example_target(config, _names(config))
        assert target is not None, f"{objective.name} plans its step, which needs an example of a target"
    views = objective.views(Augmentation(Augment(), preprocess, config))
    with torch.random.fork_rng(devices=[]):
        images, target = views(torch.zeros(preprocess.fitted_shape), target)
    return tree_map_only(Tensor, preprocess.normalise, images), target


def example_batch(views: tuple[Any, Any], size: int) -> Batch:
    """Batch of this many samples with the views of one: pixels of zeros, and its target."""
    pixels, target = views
    zeros = tree_map_only(Tensor, lambda view: torch.zeros(size, *view.shape), pixels)
    return Batch(zeros, stacked([target] * size))


def example_labels(objective: ObjectiveConfig, config: ModelConfig) -> Labels | None:
    """Labels of no samples, for building an objective; None if it needs none."""
    if not objective.tasks:
        return None
    return Labels(_task_of(objective, config), _names(config), (), _preprocess(config))


def _names(config: ModelConfig) -> tuple[str, ...]:
    return tuple(str(index) for index in range(config.num_outputs))


def _task_of(objective: ObjectiveConfig, config: ModelConfig) -> Task:
    """The task of a model, if it is one of the objective's."""
    if config.task.name not in objective.tasks:
        raise VitrailError(
            f"objective {objective.name} trains models for {', '.join(objective.tasks)}, and this one is for "
            f"{config.task.name}: plan another model, or leave the objective out"
        )
    return resolve(config.task)


def _preprocess(config: ModelConfig) -> Preprocess:
    channels = config.in_channels
    return Preprocess(
        image_size=pair(config.image_size),
        channels=channels,
        mean=(0.5,) * channels,
        std=(0.5,) * channels,
        frames=config.frames,
    )
