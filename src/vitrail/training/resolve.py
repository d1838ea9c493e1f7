"""Resolve a recipe and the data into a RunSetup: choose the open fields, build or load the model."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from ..checkpoint.build import stride_of
from ..checkpoint.contract import Checkpoint
from ..checkpoint.document import Stored
from ..data.seeds import derive
from ..engines.precision import PRECISIONS, pick_device, pick_precision
from ..errors import VitrailError
from ..models.fields import ModelConfig, pair
from ..models.registry import model_config, override
from ..objectives.objective import ObjectiveConfig
from ..objectives.registry import objective_config
from ..planning.flops import TRAINING_STEP, blueprint, count
from ..task_spec import NAMES, TaskSpec
from ..tasks.registry import resolve as resolve_task
from .choose import Situation, choose, fewer_epochs, smaller_batch
from .initial_model import (
    OwnParts,
    adapted_checkpoint,
    fresh_checkpoint,
    read_pretrained,
    recipe_fields,
    trained_config,
    with_tuples,
)
from .optimizer import muon_flops, typical_width
from .patch_dropout import embedding_before_plain_encoder
from .recipe import Recipe, chosen, timed, without_length
from .setup import RunSetup
from .solve import check_solver
from .training_data import TrainingData

_LEAST_SIDE = 32
"""Smallest image side: two patches of 16. On 8-pixel digits this trains better than four, see LOG.md."""

_MOST_MUON = 4.0
"""Largest cost of a Muon step, in FLOPs of the model's own step, at which Muon is chosen automatically. Its cost
grows with the width cubed and not with the batch."""


def resolve(recipe: Recipe, data: TrainingData, own: OwnParts) -> RunSetup:
    """Choose the open fields of a recipe, build or load the model, and return the setup of the run.

    Raises:
        VitrailError: model, objective and data do not fit together.
    """
    if not data.val.samples:
        raise VitrailError(
            f"{data.name} has no validation image, and every run chooses its best checkpoint by some: give a val of "
            "more than 0, and at least two different images"
        )
    device = pick_device(recipe.device)
    if recipe.lora is not None and not recipe.weights:
        raise VitrailError("lora trains small updates of weights that are there: give --weights, or leave lora out")
    recipe = replace(recipe, objective=_objective(recipe, data))
    data = for_objective(data, chosen(recipe.objective))
    if recipe.solver == "lbfgs":
        check_solver(recipe, own_transform=own.transform is not None)
    pretrained = read_pretrained(recipe) if recipe.weights else None
    if pretrained:
        torch.manual_seed(derive(recipe.seed, "weights"))
        pretrained = chosen(recipe.objective).starting_weights(pretrained, data.task, data.names, recipe_fields(recipe))
        data = in_units_of(pretrained.class_names, pretrained.config.task, data)
    recipe = _chosen(recipe, data, _situation(data, device, pretrained), own, pretrained)
    checkpoint = adapted_checkpoint(recipe, data, pretrained) if pretrained else fresh_checkpoint(recipe, data, own)
    if recipe.patch_dropout:
        embedding_before_plain_encoder(checkpoint.model)  # an error before anything is written
    precision = pick_precision(recipe.precision, device)
    # The recipe records what "auto" was resolved to, so that another machine resumes with the same precision.
    words: dict[torch.dtype, Any] = {dtype: word for word, dtype in PRECISIONS.items()}
    recipe = replace(recipe, precision=words[precision], workers=_workers(recipe, device))
    return RunSetup(recipe, bound_to(checkpoint, data), checkpoint, device, precision, own.transform)


def for_objective(data: TrainingData, objective: ObjectiveConfig) -> TrainingData:
    """The data with the task of the outputs that the objective trains, see `ObjectiveConfig.task_of`."""
    if data.task is None or not objective.tasks:
        return data
    task = objective.task_of(data.task)
    return replace(data, task=data.task if task == data.task else task.fitted(data.train.samples, data.names))


def named_as(checkpoint: Checkpoint, data: TrainingData) -> TrainingData:
    """The data with the names of a checkpoint's outputs, which may have been renamed since its run began."""
    if len(checkpoint.class_names) != len(data.names) or data.task is None:
        return data
    own, stored = (
        {key: value for key, value in spec.options if key.endswith(NAMES)} for spec in (data.task.spec, checkpoint.task)
    )
    task = data.task
    if own != stored and {key: len(names) for key, names in own.items()} == {k: len(v) for k, v in stored.items()}:
        task = resolve_task(TaskSpec.of(task.name, **{**dict(task.spec.options), **stored}))
    return replace(data, names=checkpoint.class_names, task=task)


def bound_to(checkpoint: Checkpoint, data: TrainingData) -> TrainingData:
    """The data with the task bound to the tokenizer of the run's checkpoint, see `Task.bound`."""
    if data.task is None:
        return data
    return replace(data, task=data.task.bound(checkpoint.config, checkpoint.tokenizer))


def in_units_of(names: Sequence[str], task: TaskSpec, data: TrainingData) -> TrainingData:
    """The data with the task as a head with these outputs was trained for it, if it goes on with the same ones."""
    if data.task is None or data.names != tuple(names):
        return data
    return replace(data, task=data.task.continued(task) or data.task)


def _objective(recipe: Recipe, data: TrainingData) -> ObjectiveConfig:
    """The recipe's objective, or the one that the task needs."""
    if recipe.objective is None:
        if data.task is None:
            raise VitrailError("images without labels need an objective of their own, such as mae: --objective mae")
        return objective_config(data.task.objective)()
    if not recipe.objective.any_size and (recipe.start_size or 1.0) < 1:
        raise VitrailError(
            f"objective {recipe.objective.name} needs images of one size, and recipe.start_size is "
            f"{recipe.start_size}: leave it out"
        )
    known = recipe.objective.tasks
    if known and (data.task is None or data.task.name not in known):
        labels = f"labels for {data.task.name}" if data.task else "no labels"
        raise VitrailError(
            f"objective {recipe.objective.name} needs labels for {', '.join(known)}, and {data.name} has {labels}: "
            "use another recipe, leave objective out (--set objective=null), or choose another"
        )
    return recipe.objective


def _chosen(
    recipe: Recipe, data: TrainingData, situation: Situation, own: OwnParts, pretrained: Stored | None
) -> Recipe:
    """The recipe with its open fields filled: Muon only if its steps cost little, a smaller batch if there is little
    time, fewer epochs for a large model."""
    recipe, size = _named_model(recipe, data, own)
    found = choose(recipe, situation, size)
    if pretrained:
        config = override(pretrained.config, {"image_size": found.image_size}, str(recipe.weights)).densest()
    else:
        config = trained_config(found, data, own).densest()
    flops = TRAINING_STEP * count(config).flops
    if timed(found) and recipe.batch_size is None:
        recipe = replace(recipe, batch_size=smaller_batch(found, situation, flops))
        found = choose(recipe, situation, size)
    muon_by_default = recipe.optimizer is None and found.optimizer == "muon"
    if muon_by_default and muon_flops(blueprint(config)) > _MOST_MUON * flops * chosen(found.batch_size):
        found = choose(replace(recipe, optimizer="adamw"), situation, size)
    return fewer_epochs(found, situation, flops) if without_length(recipe) else found


def _named_model(recipe: Recipe, data: TrainingData, own: OwnParts) -> tuple[Recipe, tuple[int, int] | None]:
    """The recipe with the objective's default variant, if it has one and none is named; and its image size."""
    if own.model is not None:
        config = own.model if isinstance(own.model, ModelConfig) else own.model.config
        return replace(recipe, model=recipe.model or "custom"), pair(config.image_size)
    if recipe.model:
        return recipe, _variant_size(recipe, data.side)
    found = chosen(recipe.objective).default_model(data.side) if not recipe.weights else None
    if found is None:
        return recipe, None
    name, overrides, size = found
    return replace(recipe, model=name, overrides={**overrides, **recipe.overrides}), (size, size)


def _situation(data: TrainingData, device: torch.device, pretrained: Stored | None) -> Situation:
    gpu = device.type == "cuda"
    images = Situation(train=len(data.train), side=data.side, channels=data.channels, gpu=gpu, clips=data.clips)
    if pretrained is None:
        return images
    return replace(
        images,
        pretrained_size=pretrained.preprocess.image_size,
        pretrained_by=pretrained.info.get("optimizer"),
        width=typical_width(blueprint(pretrained.config)),
    )


def _variant_size(recipe: Recipe, side: int) -> tuple[int, int]:
    """Image size of the variant that the user named, or a smaller one if the images are smaller."""
    config = model_config(chosen(recipe.model), **with_tuples(recipe.overrides))
    height, width = pair(config.image_size)
    stride = max(stride_of(config))
    enough = math.ceil(max(_LEAST_SIDE, 2 * stride, side) / stride) * stride
    return (height, width) if height != width else (min(height, enough), min(width, enough))


def _workers(recipe: Recipe, device: torch.device) -> int:
    """Worker processes: 0 on a CPU, where they would compete with the model for its cores."""
    if recipe.workers is not None:
        return recipe.workers
    return 0 if device.type == "cpu" else 4
