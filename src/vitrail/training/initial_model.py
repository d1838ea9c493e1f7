"""The model that a run starts from: built, given by the user, or loaded and adapted to the data."""

import copy
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from ..checkpoint.contract import Checkpoint, build_checkpoint, load_stored
from ..checkpoint.document import Stored
from ..checkpoint.origin import public_name
from ..data.preprocess import Preprocess
from ..data.seeds import derive
from ..errors import VitrailError
from ..models.fields import ModelConfig, pair
from ..models.registry import canonical_name, model_config, override
from ..nn import BaseVisionModel, init_vit
from ..objectives.augmentation import Transform
from ..rewrites.registry import merge_lora, rewrite
from ..tasks.placed import PlacedTask
from ..tasks.task import Task
from .channels import channel_statistics, given_statistics, require_scale
from .recipe import Recipe, chosen
from .training_data import TrainingData
from .whitening import fit_whitening


@dataclass(frozen=True)
class OwnParts:
    """Python objects given by the user in place of names in a recipe.

    Attributes:
        model: a model with its weights, or a config to build; None: the recipe's.
        transform: augmentation, image (C, H, W) -> image; None: the recipe's.
    """

    model: BaseVisionModel[ModelConfig] | ModelConfig | None = None
    transform: Transform | None = None


def recipe_fields(recipe: Recipe) -> dict[str, Any]:
    """Fields of the model's config that the recipe sets."""
    rates = {"drop_path": recipe.drop_path, "dropout": recipe.dropout}
    return {**{name: rate for name, rate in rates.items() if rate}, **with_tuples(recipe.overrides)}


def with_tuples(value: Any) -> Any:
    """Convert the lists of YAML to tuples, as configs have them."""
    if isinstance(value, dict):
        return {key: with_tuples(inner) for key, inner in value.items()}
    return tuple(with_tuples(inner) for inner in value) if isinstance(value, (list, tuple)) else value


def trained_config(recipe: Recipe, data: TrainingData, own: OwnParts) -> ModelConfig:
    """The config of the model to train."""
    built = isinstance(own.model, BaseVisionModel)
    given = own.model.config if isinstance(own.model, BaseVisionModel) else own.model
    config, name = given or model_config(chosen(recipe.model)), recipe.model or "the model"
    changes: dict[str, Any] = {}
    if not built:
        assert recipe.image_size is not None, "choose fills it"
        changes = {**recipe_fields(recipe), "image_size": pair(recipe.image_size), "in_channels": data.channels}
    if chosen(recipe.objective).tasks and data.task is not None:
        changes["task"] = data.task.spec
        if not built:  # the layers of a built model exist; a wrong number of outputs is an error of Checkpoint
            config = config.fine_tuned() or config
            config = override(config, data.task.model_fields(config, data.names), name)
        _check_head(config, name, data.task)
    _check_clips(config, name, data)
    return chosen(recipe.objective).model_config(override(config, changes, name))


def _check_head(config: ModelConfig, name: str, task: Task) -> None:
    """Raise VitrailError if the model's outputs do not fit the task."""
    fine_tuned = config.fine_tuned()  # for a pre-training model: the model that is fine-tuned afterwards
    if (fine_tuned or config).task.name not in task.heads:
        raise VitrailError(
            f"{name} is for {config.task.name}, and {task.name} needs a model for {' or '.join(task.heads)}: choose "
            "another of `vitrail models`"
        )


def _check_clips(config: ModelConfig, name: str, data: TrainingData) -> None:
    """Raise VitrailError for a model of images and a source of clips, or the other way round."""
    if data.clips and config.frames is None:
        raise VitrailError(
            f"{data.name} has clips, and {name} is a model for images: choose one for clips, such as "
            "compact_video_small_64, or leave --model out"
        )
    if config.frames is not None and not data.clips:
        raise VitrailError(
            f"{name} is a model for clips, and {data.name} was read as images: add --task video if its files are "
            "clips, or choose another model"
        )


def fresh_checkpoint(recipe: Recipe, data: TrainingData, own: OwnParts) -> Checkpoint:
    torch.manual_seed(derive(recipe.seed, "weights"))
    config = trained_config(recipe, data, own)
    model = _with_config(own.model, config) if isinstance(own.model, BaseVisionModel) else config.build()
    size = pair(config.image_size)
    given = given_statistics(recipe.mean, recipe.std, data.channels)
    mean, std = given or channel_statistics(data.train.reader(data.channels), len(data.train), recipe.seed)
    whole = isinstance(data.task, PlacedTask) and bool(chosen(recipe.objective).tasks)
    preprocess = Preprocess(
        image_size=size,
        crop=1.0 if whole or min(size) <= 64 else 0.9,
        stretch=whole,
        interpolation="bilinear" if min(size) <= 64 else "bicubic",
        mean=mean,
        std=std,
        channels=data.channels,
        frames=config.frames,
    )
    if not isinstance(own.model, BaseVisionModel):
        fit_whitening(model, data, preprocess, recipe.seed)
    name = "custom" if own.model is not None else canonical_name(chosen(recipe.model))
    info = {"architecture": name, "origin": "", "adapted": [], **_card_info(recipe, data)}
    labelled = data.task is not None and bool(chosen(recipe.objective).tasks)
    tokenizer = data.task.tokenizer_json if labelled and data.task is not None else None
    return Checkpoint(model, data.names if labelled else (), preprocess, info, tokenizer=tokenizer)


def _with_config(model: BaseVisionModel[ModelConfig], config: ModelConfig) -> BaseVisionModel[ModelConfig]:
    """The user's model with the task of the labels in its config; the weights are shared, the user's config is kept."""
    found = copy.copy(model)
    found.config = config
    return found


def read_pretrained(recipe: Recipe) -> Stored:
    """Read the recipe's weights. The fields that it sets complete the shapes of bare weights of other libraries."""
    size = {} if recipe.image_size is None else {"image_size": recipe.image_size}
    return load_stored(chosen(recipe.weights), {**recipe_fields(recipe), **size})


def adapted_checkpoint(recipe: Recipe, data: TrainingData, pretrained: Stored) -> Checkpoint:
    """The checkpoint to start from, adapted to the number of outputs and to the image size."""
    interchangeable = {data.channels, pretrained.preprocess.channels} <= {1, 3}
    channels = pretrained.preprocess.channels if interchangeable else data.channels
    torch.manual_seed(derive(recipe.seed, "weights"))
    changes = {**_for_objective(recipe, pretrained), **recipe_fields(recipe), "image_size": recipe.image_size}
    if channels != pretrained.preprocess.channels:
        changes["in_channels"] = channels
    labelled = bool(chosen(recipe.objective).tasks) and data.task is not None
    _check_clips(pretrained.config, str(recipe.weights), data)
    new_head = False
    if labelled and data.task is not None:
        _check_head(pretrained.config, str(recipe.weights), data.task)
        new_head = data.names != pretrained.class_names or data.task.continued(pretrained.config.task) is None
        changes["task"] = data.task.spec
        if new_head:
            changes |= data.task.model_fields(pretrained.config, data.names)
    loaded = build_checkpoint(pretrained, changes)
    preprocess = loaded.preprocess
    if labelled and isinstance(data.task, PlacedTask):
        preprocess = replace(preprocess, crop=1.0, stretch=True)
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
    names = data.names if labelled else loaded.class_names
    return Checkpoint(model, names, preprocess, info, tokenizer=loaded.tokenizer)


def _card_info(recipe: Recipe, data: TrainingData) -> dict[str, Any]:
    """Entries of the checkpoint's info about its training and its owner."""
    owner = {"license": recipe.card.license, "author": recipe.card.author}
    return {
        "trained_on": public_name(data.name),
        "optimizer": recipe.optimizer,
        **{name: value for name, value in owner.items() if value},
    }


def _for_objective(recipe: Recipe, pretrained: Stored) -> dict[str, Any]:
    """Fields of a checkpoint's config for which the objective has other values, such as the fraction of hidden
    patches."""
    config = pretrained.config
    wanted = chosen(recipe.objective).model_config(config)
    if type(wanted) is not type(config):
        objective = chosen(recipe.objective).name
        raise VitrailError(
            f"{recipe.weights} is for {config.task.name}, and objective {objective} continues a model for "
            f"{wanted.task.name}: give a checkpoint of such a pre-training, or a fresh --model without weights"
        )
    pairs = ((field.name, getattr(wanted, field.name)) for field in fields(config))
    return {name: value for name, value in pairs if value != getattr(config, name)}
