"""The models that a study of data efficiency compares."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..models.registry import model_config, override
from ..objectives.supervised import SupervisedConfig
from ..planning.flops import Count, count
from ..training.choose import Situation, choose
from ..training.recipe import Recipe, chosen
from ..training.recipe_file import set_fields
from ..training.training_data import TrainingData

START = Recipe(start_size=1.0, objective=SupervisedConfig())
"""What `choose` completes; images have their full size in all steps, so that FLOPs are matched exactly."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A model of the comparison.

    Attributes:
        label: its name in tables: the variant, with a number if several are of one variant.
        model, overrides: variant and fields that differ from it.
        cost: parameters, and FLOPs of a forward pass of one image.
    """

    label: str
    model: str
    overrides: dict[str, Any]
    cost: Count


def default_models(data: TrainingData, size: int) -> list[str]:
    """A ViT of 8 × 8 patches with about the FLOPs of the hybrid, the hybrid, and a ResNet-18."""
    situation = Situation(train=len(data.train), side=data.side, channels=data.channels, gpu=False)
    hybrid = chosen(choose(START, situation).model)
    aim = count(model_config(hybrid, image_size=size)).flops
    patch = max(1, size // 8)

    def vit(dim: int) -> str:
        return f"vit_tiny_patch16_224:patch_size={patch}:embed_dim={dim}:depth=6:num_heads=3"

    def gap(dim: int) -> int:
        return abs(contestant(vit(dim), data, size).cost.flops - aim)

    return [vit(min(range(48, 385, 48), key=gap)), hybrid, "resnet18"]


def contestant(text: str, data: TrainingData, size: int) -> Contestant:
    """Read "VARIANT:field=value:…"."""
    name, *settings = text.split(":")
    overrides = dict(set_fields(Recipe(), [f"overrides.{setting}" for setting in settings]).overrides)
    fixed = {"image_size": size, "num_classes": len(data.names), "in_channels": data.channels}
    cost = count(override(model_config(name), {**overrides, **fixed}, name))
    return Contestant(name, name, overrides, cost)


def labelled(models: Sequence[Contestant]) -> list[Contestant]:
    """The models with labels that differ."""
    names = [model.model for model in models]
    return [
        replace(model, label=f"{model.model} ({place})") if names.count(model.model) > 1 else model
        for place, model in enumerate(models, 1)
    ]
