"""A training step of an objective without data: its root module on the meta device, and a batch of zeros."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from ..data.augment_options import Augment
from ..data.loader import Batch
from ..data.preprocess import Preprocess
from ..errors import VitrailError
from ..models.fields import ModelConfig, pair
from ..nn import BaseVisionModel
from ..nn.init import without_weights
from ..objectives.objective import Augmentation, Objective, ObjectiveConfig


def root_module(objective: ObjectiveConfig, model: BaseVisionModel[ModelConfig]) -> Objective:
    """The objective around a model on the meta device.

    Raises:
        VitrailError: the objective learns from labels, which a plan does not have.
    """
    if objective.tasks:
        raise VitrailError(
            f"objective {objective.name} learns from labels, and its step costs what the model's does: plan the model "
            "without an objective"
        )
    with without_weights():
        return objective.build(model, None)


def example_views(objective: ObjectiveConfig, config: ModelConfig) -> Any:
    """The objective's views of an image of zeros, a pytree of images (C, H, W)."""
    channels = config.in_channels
    preprocess = Preprocess(
        image_size=pair(config.image_size), channels=channels, mean=(0.5,) * channels, std=(0.5,) * channels
    )
    views = objective.views(Augmentation(Augment(), preprocess, config))
    with torch.random.fork_rng(devices=[]):
        pixels, _ = views(torch.zeros(channels, *preprocess.image_size), None)
    return pixels


def example_batch(views: Any, size: int) -> Batch:
    """Batch of this many samples, all zeros, in the shapes of the views of one."""
    return Batch(tree_map_only(Tensor, lambda view: torch.zeros(size, *view.shape), views), None)
