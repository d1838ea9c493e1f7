"""Open fields of a recipe, chosen from the data, the time and the machine."""

from dataclasses import replace
from typing import Any

import pytest

from vitrail.checkpoint.build import blueprint
from vitrail.models.registry import model_config
from vitrail.objectives.supervised import SupervisedConfig
from vitrail.rewrites.lora import LoRA
from vitrail.training.choose import Situation, choose, smaller_batch
from vitrail.training.optimizer import typical_width
from vitrail.training.recipe import Recipe, chosen

PHOTOGRAPHS = Situation(train=3000, side=200, channels=3, gpu=False)


@pytest.mark.parametrize(("minutes", "batch"), [(0.5, 32), (3, 32), (10, 32), (30, 64), (600, 64)])
def test_little_time_has_small_batches(minutes: float, batch: int) -> None:
    # 2.4 GFLOPs an image: 20 GFLOP/s do 500 images a minute.
    recipe = Recipe(minutes=minutes, batch_size=64)
    assert smaller_batch(recipe, PHOTOGRAPHS, 2_400_000_000) == batch


def test_a_batch_that_is_small_already_stays_and_a_gpu_has_time() -> None:
    recipe = Recipe(minutes=1, batch_size=4)
    assert smaller_batch(recipe, PHOTOGRAPHS, 2_400_000_000) == recipe.batch_size
    fast = replace(PHOTOGRAPHS, gpu=True)
    assert smaller_batch(Recipe(minutes=1, batch_size=128), fast, 2_400_000_000) == 128


@pytest.mark.parametrize(
    ("width", "batch", "changes", "expected"),
    [
        (96, 256, {}, 2e-3),  # 0.2 / 96 is above the highest
        (768, 256, {}, 2.6e-4),
        (768, 64, {}, 2.6e-4 * 2),  # a rate at a batch of 256, which the optimiser scales to a quarter
        (768, 64, {"accumulate": 4}, 2.6e-4),
        (768, 256, {"layer_decay": 0.75}, 2.6e-4 * 2),
        (768, 256, {"lora": LoRA()}, 2.1e-3),
        (768, 256, {"lr": 1e-5}, 1e-5),
    ],
)
def test_the_rate_of_fine_tuning_follows_width_and_batch(
    width: int, batch: int, changes: dict[str, Any], expected: float
) -> None:
    situation = replace(PHOTOGRAPHS, pretrained_size=(224, 224), width=width)
    recipe = Recipe(weights="x", objective=SupervisedConfig(), batch_size=batch, **changes)
    found = choose(recipe, situation)
    assert (found.optimizer, found.lr) == ("adamw", pytest.approx(expected, rel=0.02))


def test_weights_that_muon_has_trained_go_on_with_muon() -> None:
    situation = replace(PHOTOGRAPHS, pretrained_size=(32, 32), pretrained_by="muon")
    found = choose(Recipe(weights="x", objective=SupervisedConfig()), situation)
    assert (found.optimizer, found.lr, found.muon_lr) == ("muon", 2.8e-3, 0.008)


@pytest.mark.parametrize(("batch", "used"), [(256, 2e-3), (64, 1e-3), (16, 5e-4)])
def test_the_rate_falls_with_the_root_of_the_batch(batch: int, used: float) -> None:
    found = choose(Recipe(objective=SupervisedConfig(), batch_size=batch), PHOTOGRAPHS)
    assert chosen(found.lr) * batch / found.lr_batch == pytest.approx(used)


@pytest.mark.parametrize(
    ("name", "width"),
    [("vit_base_patch16_224", 768), ("swin_tiny_patch4_window7_224", 384), ("whitened_small_32", 256)],
)
def test_the_typical_width_is_that_of_most_layers(name: str, width: int) -> None:
    assert typical_width(blueprint(model_config(name))) == width
