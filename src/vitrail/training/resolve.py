"""Resolve a recipe and the data into a RunSetup: choose the open fields, build or load the model."""

import copy
import math
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from ..checkpoint.build import stride_of
from ..checkpoint.contract import Checkpoint, load
from ..checkpoint.origin import public_name
from ..data.preprocess import Preprocess
from ..data.seeds import derive
from ..engines.precision import PRECISIONS, pick_device, pick_precision
from ..errors import VitrailError
from ..models.fields import ModelConfig, pair
from ..models.registry import canonical_name, model_config, override
from ..nn import BaseVisionModel, init_vit
from ..objectives.objective import ObjectiveConfig, Transform
from ..objectives.registry import objective_config
from ..planning.flops import blueprint, count
from ..rewrites.registry import merge_lora, rewrite
from ..tasks.task import Task
from .channels import channel_statistics, given_statistics, require_scale
from .choose import Situation, choose, fewer_epochs, smaller_batch
from .optimizer import muon_flops
from .patch_dropout import embedding_before_plain_encoder
from .recipe import Recipe, chosen, timed
from .setup import RunSetup
from .solve import check_solver
from .training_data import TrainingData
from .whitening import fit_whitening

_LEAST_SIDE = 32
"""Smallest image side: two patches of 16. On 8-pixel digits this trains better than four, see LOG.md."""

_MOST_MUON = 4.0
"""Largest cost of a Muon step, in FLOPs of the model's own step, at which Muon is chosen automatically. Its cost
grows with the width cubed and not with the batch."""


@dataclass(frozen=True)
class OwnParts:
    """Python objects given by the user in place of names in a recipe.

    Attributes:
        model: a model with its weights, or a config to build; None: the recipe's.
        transform: augmentation, image (C, H, W) -> image; None: the recipe's.
    """

    model: BaseVisionModel[ModelConfig] | ModelConfig | None = None
    transform: Transform | None = None


def resolve(recipe: Recipe, data: TrainingData, own: OwnParts) -> RunSetup:
    """Choose the open fields of a recipe, build or load the model, and return the setup of the run.

    Raises:
        VitrailError: model, objective and data do not fit together.
    """
    device = pick_device(recipe.device)
    if recipe.lora is not None and not recipe.weights:
        raise VitrailError("lora trains small updates of weights that are there: give --weights, or leave lora out")
    recipe = replace(recipe, objective=_objective(recipe, data))
    if recipe.solver == "lbfgs":
        check_solver(recipe, own_transform=own.transform is not None)
    pretrained = load(recipe.weights) if recipe.weights else None
    if pretrained:
        data = in_units_of(pretrained, data)
    recipe = _chosen(recipe, data, _situation(data, device, pretrained), own, pretrained)
    checkpoint = _adapted(recipe, data, pretrained) if pretrained else _fresh(recipe, data, own)
    if recipe.patch_dropout:
        embedding_before_plain_encoder(checkpoint.model)  # an error before anything is written
    precision = pick_precision(recipe.precision, device)
    # The recipe records what "auto" was resolved to, so that another machine resumes with the same precision.
    words: dict[torch.dtype, Any] = {dtype: word for word, dtype in PRECISIONS.items()}
    recipe = replace(recipe, precision=words[precision], workers=_workers(recipe, device))
    return RunSetup(recipe, data, checkpoint, device, precision, own.transform)


def in_units_of(checkpoint: Checkpoint, data: TrainingData) -> TrainingData:
    """The data with the task as the checkpoint's head was trained for it, if the head goes on with the same outputs."""
    if data.task is None or data.names != checkpoint.class_names:
        return data
    return replace(data, task=data.task.continued(checkpoint.task) or data.task)


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
    recipe: Recipe, data: TrainingData, situation: Situation, own: OwnParts, pretrained: Checkpoint | None
) -> Recipe:
    """The recipe with its open fields filled: Muon only if its steps cost little, a smaller batch if there is little
    time, fewer epochs for a large model."""
    recipe, size = _named_model(recipe, data, own)
    found = choose(recipe, situation, size)
    if pretrained:
        config = override(pretrained.model.config, {"image_size": found.image_size}, str(recipe.weights)).densest()
    else:
        config = _config(found, data, own).densest()
    flops = 3 * count(config).flops
    if timed(found) and recipe.batch_size is None:
        found = smaller_batch(found, situation, flops)
    muon_by_default = recipe.optimizer is None and found.optimizer == "muon"
    if muon_by_default and muon_flops(blueprint(config)) > _MOST_MUON * flops * chosen(found.batch_size):
        found = choose(replace(recipe, optimizer="adamw", batch_size=found.batch_size), situation, size)
    nothing_given = recipe.epochs is None and recipe.minutes is None and recipe.steps is None
    return fewer_epochs(found, situation, flops) if nothing_given else found


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


def _situation(data: TrainingData, device: torch.device, pretrained: Checkpoint | None) -> Situation:
    return Situation(
        train=len(data.train),
        side=data.side,
        channels=data.channels,
        gpu=device.type == "cuda",
        pretrained_size=pretrained.preprocess.image_size if pretrained else None,
        pretrained_by=pretrained.info.get("optimizer") if pretrained else None,
    )


def _variant_size(recipe: Recipe, side: int) -> tuple[int, int]:
    """Image size of the variant that the user named, or a smaller one if the images are smaller."""
    config = model_config(chosen(recipe.model), **_tuples(recipe.overrides))
    height, width = pair(config.image_size)
    stride = max(stride_of(config))
    enough = math.ceil(max(_LEAST_SIDE, 2 * stride, side) / stride) * stride
    return (height, width) if height != width else (min(height, enough), min(width, enough))


def _changes(recipe: Recipe) -> dict[str, Any]:
    rates = {"drop_path": recipe.drop_path, "dropout": recipe.dropout}
    return {**{name: rate for name, rate in rates.items() if rate}, **_tuples(recipe.overrides)}


def _tuples(value: Any) -> Any:
    """Convert the lists of YAML to tuples, as configs have them."""
    if isinstance(value, dict):
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(_tuples(inner) for inner in value) if isinstance(value, (list, tuple)) else value


def _config(recipe: Recipe, data: TrainingData, own: OwnParts) -> ModelConfig:
    """The config of the model to train."""
    built = isinstance(own.model, BaseVisionModel)
    config = own.model.config if isinstance(own.model, BaseVisionModel) else own.model
    config, name = config or model_config(chosen(recipe.model)), recipe.model or "the model"
    changes: dict[str, Any] = {}
    if chosen(recipe.objective).tasks and data.task is not None:
        config = config if built else config.fine_tuned() or config
        _check_head(config, name, data.task)
        changes = {"num_classes": len(data.names), "task": data.task.spec}
    if built:
        changes.pop("num_classes", None)  # the layers exist; a wrong number of outputs is an error of Checkpoint
    else:
        changes = {**_changes(recipe), "image_size": _size(recipe), "in_channels": data.channels, **changes}
    return chosen(recipe.objective).model_config(override(config, changes, name))


def _size(recipe: Recipe) -> tuple[int, int]:
    assert recipe.image_size is not None
    return pair(recipe.image_size)


def _check_head(config: ModelConfig, name: str, task: Task) -> None:
    """Raise VitrailError if the model's outputs do not fit the task."""
    fine_tuned = config.fine_tuned()  # for a pre-training model: the model that is fine-tuned afterwards
    if (fine_tuned or config).task.name not in task.heads:
        raise VitrailError(
            f"{name} is for {config.task.name}, and {task.name} needs a model for {' or '.join(task.heads)}: choose "
            "another of `vitrail models`"
        )


def _fresh(recipe: Recipe, data: TrainingData, own: OwnParts) -> Checkpoint:
    torch.manual_seed(derive(recipe.seed, "weights"))
    config = _config(recipe, data, own)
    model = _with_config(own.model, config) if isinstance(own.model, BaseVisionModel) else config.build()
    size = pair(config.image_size)
    given = given_statistics(recipe.mean, recipe.std, data.channels)
    mean, std = given or channel_statistics(data.train.reader(data.channels), len(data.train), recipe.seed)
    preprocess = Preprocess(
        image_size=size,
        crop=1.0 if min(size) <= 64 else 0.9,
        interpolation="bilinear" if min(size) <= 64 else "bicubic",
        mean=mean,
        std=std,
        channels=data.channels,
    )
    if not isinstance(own.model, BaseVisionModel):
        fit_whitening(model, data, preprocess, recipe.seed)
    name = "custom" if own.model is not None else canonical_name(chosen(recipe.model))
    info = {"architecture": name, "origin": "", "adapted": [], **_card_info(recipe, data)}
    return Checkpoint(model, data.names if chosen(recipe.objective).tasks else (), preprocess, info)


def _with_config(model: BaseVisionModel[ModelConfig], config: ModelConfig) -> BaseVisionModel[ModelConfig]:
    """The user's model with the task of the labels in its config; the weights are shared, the user's config is kept."""
    found = copy.copy(model)
    found.config = config
    return found


def _adapted(recipe: Recipe, data: TrainingData, pretrained: Checkpoint) -> Checkpoint:
    """The checkpoint to start from, adapted to the number of outputs and to the image size."""
    interchangeable = {data.channels, pretrained.preprocess.channels} <= {1, 3}
    channels = pretrained.preprocess.channels if interchangeable else data.channels
    torch.manual_seed(derive(recipe.seed, "weights"))
    changes = {**_for_objective(recipe, pretrained), **_changes(recipe), "image_size": recipe.image_size}
    if channels != pretrained.preprocess.channels:
        changes["in_channels"] = channels
    labelled = bool(chosen(recipe.objective).tasks) and data.task is not None
    new_head = False
    if labelled and data.task is not None:
        _check_head(pretrained.model.config, str(recipe.weights), data.task)
        new_head = data.names != pretrained.class_names or data.task.continued(pretrained.task) is None
        changes["task"] = data.task.spec
        if data.names != pretrained.class_names:
            changes["num_classes"] = len(data.names)
    loaded = load(chosen(recipe.weights), **changes)
    preprocess = loaded.preprocess
    if given := given_statistics(recipe.mean, recipe.std, channels):
        preprocess = replace(preprocess, mean=given[0], std=given[1])
    elif any(facts.value_bytes > 1 for facts in data.train.facts):  # uint8 has one scale
        require_scale(data.train.reader(channels), len(data.train), recipe.seed, loaded.preprocess)
    if new_head and recipe.solver == "steps":  # a solver writes the last layer, and keeps the others
        loaded.model.get_submodule("head").apply(init_vit)  # as many outputs as before may still be others
    info = {**loaded.info, "origin": public_name(chosen(recipe.weights)), **_card_info(recipe, data)}
    model = merge_lora(loaded.model)
    if recipe.lora is not None:
        torch.manual_seed(derive(recipe.seed, "lora"))
        model = rewrite(model, recipe.lora)
    return Checkpoint(model, data.names if labelled else loaded.class_names, preprocess, info)


def _card_info(recipe: Recipe, data: TrainingData) -> dict[str, Any]:
    """What the checkpoint stores of its training and its owner."""
    owner = {"license": recipe.card.license, "author": recipe.card.author}
    return {
        "trained_on": public_name(data.name),
        "optimizer": recipe.optimizer,
        **{name: value for name, value in owner.items() if value},
    }


def _for_objective(recipe: Recipe, pretrained: Checkpoint) -> dict[str, Any]:
    """Fields of a checkpoint's config for which the objective has other values, such as the fraction of hidden
    patches."""
    config = pretrained.model.config
    wanted = chosen(recipe.objective).model_config(config)
    if type(wanted) is not type(config):
        objective = chosen(recipe.objective).name
        raise VitrailError(
            f"{recipe.weights} is for {config.task.name}, and objective {objective} continues a model for "
            f"{wanted.task.name}: give a checkpoint of such a pre-training, or a fresh --model without weights"
        )
    pairs = ((field.name, getattr(wanted, field.name)) for field in fields(config))
    return {name: value for name, value in pairs if value != getattr(config, name)}


def _workers(recipe: Recipe, device: torch.device) -> int:
    """Worker processes: 0 on a CPU, where they would compete with the model for its cores."""
    if recipe.workers is not None:
        return recipe.workers
    return 0 if device.type == "cpu" else 4
