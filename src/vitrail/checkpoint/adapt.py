"""Adapt a checkpoint to other classes, image sizes, patch sizes or channels."""

import copy
import re
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..data.preprocess import Preprocess
from ..models.fields import ModelConfig, pair
from ..models.registry import override
from ..nn import (
    AxisPositions,
    BaseVisionModel,
    DistanceBias,
    LearnedPositions,
    PatchEmbed,
    RelativeBias,
    RelativeBiasWithClass,
    TubeletEmbed,
    init_vit,
    resample_offsets,
    resize_patch_weights,
)
from .build import blueprint
from .document import Stored, architecture_name

_FITTED = ("temperature", "floor", "thresholds", "threshold", "mean", "scale", "half_widths", "quantile")
"""Options of tasks that were fitted to the outputs of a head, or to its labels: a fresh head has none."""

_BIASES = (RelativeBias, RelativeBiasWithClass)
_CLASSIFIER = re.compile(r"head\.(\w+\.)*?(classify|distill)(?=\.)")
_PATCHES = (PatchEmbed, TubeletEmbed)
_TABLES = (LearnedPositions, AxisPositions)


def adapt(stored: Stored, overrides: dict[str, Any]) -> Stored:
    """Replace config fields of a checkpoint and adapt its tensors; `info["adapted"]` lists the changes.

    Other classes need a fresh head, another image size resamples the positions, another patch size resizes the filters
    too, and other channels change the first convolution. Fields that change any other tensor fail in the check of
    tensors that follows.
    """
    if overrides.get("num_classes"):
        stored = _without_decoder(stored)
    config = override(stored.config, overrides, "the checkpoint")
    if config.num_outputs != stored.config.num_outputs and "task" not in overrides:
        config = override(config, {"task": config.task.without(*_FITTED)}, "the checkpoint")
    if config == stored.config:
        return stored
    old, new = blueprint(stored.config, stored.rewrites), blueprint(config, stored.rewrites)
    state, sentences = dict(stored.state), []
    sentences += _adapt_head(state, stored.config, config, new)
    sentences += _adapt_patches(state, old, new)
    sentences += _adapt_positions(state, old, new)
    sentences += _adapt_channels(state, old, new)
    return Stored(
        config=config,
        state=state,
        class_names=stored.class_names if config.num_outputs == stored.config.num_outputs else (),
        preprocess=_adapt_preprocess(stored.preprocess, stored.config, config),
        info={**stored.info, "adapted": [*stored.info.get("adapted", []), *sentences]},
        rewrites=stored.rewrites,
        tokenizer=stored.tokenizer,
    )


def _without_decoder(stored: Stored) -> Stored:
    """Convert a pre-training checkpoint to the model that is fine-tuned; others are returned unchanged."""
    config = stored.config.fine_tuned()
    if config is None:
        return stored
    notes = [*stored.info.get("adapted", []), "the decoder or head of the pre-training was left out"]
    info = {**stored.info, "adapted": notes, "architecture": architecture_name(config)}
    return replace(stored, config=config, state=stored.config.fine_tuned_state(stored.state), info=info)


def inflate_channels(weight: Tensor, channels: int) -> Tensor:
    """Adapt the filters (O, C, h, w) of a first convolution to another number of channels.

    For one channel the filters are summed, so that a grey image has the same output as its C equal channels. For
    other numbers the filters are repeated in turn and scaled by C / channels, which keeps the scale of the output,
    as in timm.
    """
    old = weight.shape[1]
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    return weight[:, torch.arange(channels) % old] * (old / channels)


def _adapt_head(
    state: dict[str, Tensor], before: ModelConfig, after: ModelConfig, model: BaseVisionModel[ModelConfig]
) -> list[str]:
    expected = {name: tensor.shape for name, tensor in model.state_dict().items() if _CLASSIFIER.match(name)}
    found = {name: tensor.shape for name, tensor in state.items() if _CLASSIFIER.match(name)}
    names = {**expected, **found}
    layers = dict.fromkeys(_layer(name) for name in names if expected.get(name) != found.get(name))
    if not layers:
        return []
    fresh = _fresh_head(model)
    for name in [name for name in names if _layer(name) in layers]:
        state.pop(name, None)
        if name in fresh:
            state[name] = fresh[name]
    if after.num_outputs == before.num_outputs:
        return [f"a fresh {layer}" for layer in layers]
    if not after.num_outputs:
        return [f"the head of {before.num_outputs} classes was left out"]
    return [f"a fresh head for {after.num_outputs} classes, where there were {before.num_outputs}"]


def _layer(name: str) -> str:
    """Name of the classifier that a tensor belongs to; a head of several tasks has several."""
    found = _CLASSIFIER.match(name)
    assert found, name
    return found[0]


def _fresh_head(model: BaseVisionModel[ModelConfig]) -> dict[str, Tensor]:
    """Freshly initialised tensors of the head; the model itself is on the meta device."""
    head = copy.deepcopy(model.get_submodule("head")).to_empty(device="cpu")
    module: Any
    for module in head.modules():
        reset = getattr(module, "reset_parameters", None)
        if reset is not None:
            reset()
    return {f"head.{name}": tensor for name, tensor in head.apply(init_vit).state_dict().items()}


def _adapt_patches(
    state: dict[str, Tensor], old: BaseVisionModel[ModelConfig], new: BaseVisionModel[ModelConfig]
) -> list[str]:
    sentences = []
    modules = dict(new.named_modules())
    for name, was in old.named_modules():
        now = modules.get(name)
        if isinstance(was, _PATCHES) and isinstance(now, _PATCHES):
            before, (rows, columns) = was.project.kernel_size[-2:], now.project.kernel_size[-2:]
            if before != (rows, columns):
                filters = f"{name}.project.weight"
                state[filters] = resize_patch_weights(state[filters], (rows, columns)).contiguous()
                sentences.append(f"patch filters resized from {_sides(before)} to {_sides((rows, columns))}")
    return sentences


def _adapt_positions(
    state: dict[str, Tensor], old: BaseVisionModel[ModelConfig], new: BaseVisionModel[ModelConfig]
) -> list[str]:
    sentences = []
    modules = dict(new.named_modules())
    for name, was in old.named_modules():
        now = modules.get(name)
        if isinstance(was, _TABLES) and isinstance(now, _TABLES) and was.grid != now.grid:
            table = f"{name}.weight"
            state[table] = now.resampled(state[table], was.grid, now.grid).contiguous()
            sentences.append(f"positions resampled from {_sides(was.grid)} to {_sides(now.grid)} ({now.mode})")
        elif isinstance(was, _BIASES) and isinstance(now, type(was)) and was.window != now.window:
            state[f"{name}.table"] = resample_offsets(state[f"{name}.table"], was.window, now.window).contiguous()
            sentences.append(f"{name} resampled from {_sides(was.window)} to {_sides(now.window)} (geometric, as timm)")
        elif isinstance(was, DistanceBias) and isinstance(now, DistanceBias) and was.grid != now.grid:
            was.table = torch.nn.Parameter(state[f"{name}.table"], requires_grad=False)
            state[f"{name}.table"] = was.resampled(now.grid).contiguous()
            sentences.append(f"{name} resampled from {_sides(was.grid)} to {_sides(now.grid)}")
    return sentences


def _sides(grid: tuple[int, ...]) -> str:
    return "×".join(map(str, grid))


def _adapt_channels(
    state: dict[str, Tensor], old: BaseVisionModel[ModelConfig], new: BaseVisionModel[ModelConfig]
) -> list[str]:
    before, after = old.config.in_channels, new.config.in_channels
    if before == after:
        return []
    sentences = []
    expected = new.state_dict()
    for name, tensor in state.items():
        wanted = expected.get(name)
        if wanted is None or tensor.ndim not in (4, 5) or (tensor.shape[1], wanted.shape[1]) != (before, after):
            continue
        state[name] = inflate_channels(tensor, after)
        sentences.append(f"{name} adapted from {before} to {after} channels")
    return sentences


def _adapt_preprocess(preprocess: Preprocess, before: ModelConfig, after: ModelConfig) -> Preprocess:
    if after.image_size != before.image_size:
        preprocess = replace(preprocess, image_size=pair(after.image_size))
    if after.in_channels == before.in_channels:
        return preprocess
    count = after.in_channels
    return replace(preprocess, channels=count, mean=_spread(preprocess.mean, count), std=_spread(preprocess.std, count))


def _spread(values: tuple[float, ...], count: int) -> tuple[float, ...]:
    """Adapt values of channels to `count` channels: the mean for one, otherwise repeated in turn."""
    if count == 1:
        return (sum(values) / len(values),)
    return tuple(values[index % len(values)] for index in range(count))
