"""The named recipes against what their authors published, and a step with each."""

import json
import math
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from killable_runs import make_pictures

from vitrail.cli.main import main
from vitrail.errors import VitrailError
from vitrail.objectives.supervised import SupervisedConfig
from vitrail.training.recipe import Recipe, chosen
from vitrail.training.recipe_file import read_recipe, recipe_to_yaml
from vitrail.training.recipes import ALIASES, NAMED_RECIPES, RECIPES, named_recipe
from vitrail.training.resolve import OwnParts, resolve
from vitrail.training.step_plan import StepPlan
from vitrail.training.training_data import Reading, read_data

PAPERS = ("imagenet-deit", "imagenet-deit3", "imagenet-augreg", "plain-vit-90ep")

DEIT = """--epochs 300 --drop-path 0.1 --opt adamw --weight-decay 0.05 --sched cosine --lr 5e-4 --min-lr 1e-5
--warmup-epochs 5 --aa rand-m9-mstd0.5-inc1 --smoothing 0.1 --reprob 0.25 --remode pixel --mixup 0.8 --cutmix 1.0"""
"""Defaults of main.py of DeiT; the batch of 1,024 and the linear rule for 512 are those of the paper's table 9."""

DEIT3 = """--batch 256 --lr 4e-3 --epochs 800 --weight-decay 0.05 --sched cosine --reprob 0.0 --gpu 8 --smoothing 0.0
--warmup-epochs 5 --drop 0.0 --opt fusedlamb --mixup .8 --drop-path 0.05 --cutmix 1.0 --color-jitter 0.3"""
"""The command for ViT-S of README_revenge.md of DeiT III; the smallest rate is the default of main.py, 1e-5."""


def options(text: str) -> dict[str, str]:
    words = text.split()
    return {name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)}


@pytest.mark.parametrize(("name", "command", "batch"), [("imagenet-deit", DEIT, 1024), ("imagenet-deit3", DEIT3, 2048)])
def test_deit_and_deit_iii_are_those_of_their_commands(name: str, command: str, batch: int) -> None:
    theirs, recipe = options(command), named_recipe(name)
    objective, augment = recipe.objective, chosen(recipe.augment)
    assert isinstance(objective, SupervisedConfig)
    peak = chosen(recipe.lr) * batch / recipe.lr_batch
    assert recipe.batch_size == batch
    assert peak == pytest.approx({"imagenet-deit": 5e-4 * 1024 / 512, "imagenet-deit3": 4e-3}[name])
    assert recipe.final_lr * peak == pytest.approx(1e-5)
    assert (recipe.epochs, recipe.warmup) == (float(theirs["epochs"]), f"{theirs['warmup-epochs']} epochs")
    assert recipe.optimizer == theirs["opt"].removeprefix("fused")
    assert (recipe.weight_decay, recipe.drop_path) == (float(theirs["weight-decay"]), float(theirs["drop-path"]))
    assert (objective.mixup, objective.cutmix) == (float(theirs["mixup"]), float(theirs["cutmix"]))
    assert (objective.label_smoothing, augment.erasing) == (float(theirs["smoothing"]), float(theirs["reprob"]))
    assert augment.randaugment == theirs.get("aa", 0)
    assert augment.color_jitter == float(theirs.get("color-jitter", 0))
    assert (augment.repeats, augment.crop_scale, recipe.ema) == (3, (0.08, 1.0), 0.0)
    assert augment.erasing_mode == theirs.get("remode", "mean")
    assert (objective.loss == "bce") == augment.three_augment == (name == "imagenet-deit3")


@pytest.mark.parametrize(
    ("name", "epochs", "batch", "mixup", "level"),
    [("imagenet-augreg", 300, 4096, 0.5, 15), ("plain-vit-90ep", 90, 1024, 0.2, 10)],
)
def test_the_recipes_of_big_vision(name: str, epochs: int, batch: int, mixup: float, level: int) -> None:
    recipe = named_recipe(name)
    assert isinstance(recipe.objective, SupervisedConfig)
    assert (recipe.epochs, recipe.batch_size, recipe.objective.mixup) == (epochs, batch, mixup)
    assert (recipe.warmup, recipe.clip, recipe.final_lr, recipe.drop_path) == ("10000 steps", 1.0, 0.0, 0.0)
    rate = chosen(recipe.lr) * batch / recipe.lr_batch
    assert rate == pytest.approx(0.001)
    assert recipe.weight_decay * rate == pytest.approx(0.0001)
    assert str(chosen(recipe.augment).randaugment).startswith(f"rand-n2-m{level}-p1")
    assert chosen(recipe.augment).crop_scale == (0.05, 1.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory):
    source = make_pictures(tmp_path_factory.mktemp("images") / "kinds", classes=2, each=12, size=32)
    return read_data(source, Reading())


@pytest.mark.parametrize("name", PAPERS)
def test_a_step_with_each(name: str, data) -> None:
    small = {"embed_dim": 16, "depth": 1, "num_heads": 2, "patch_size": 8}
    # A short warm-up and a batch that fits.
    recipe = replace(
        named_recipe(name), model="simple_vit_tiny_patch16_224", overrides=small, epochs=None, steps=2, warmup=0.5
    )
    recipe = replace(recipe, batch_size=8, precision="float32", device="cpu", workers=0)
    trainer = resolve(recipe, data, OwnParts()).trainer(StepPlan.fixed(2, 2))
    batches = trainer.batches()
    for _ in range(2):
        trainer.step(batches)
    assert math.isfinite(trainer.counters.means()["loss"])
    trainer.require_finite()


def test_each_is_described_and_can_be_read_again(tmp_path) -> None:
    for name, named in NAMED_RECIPES.items():
        assert named.purpose.endswith(".")
        assert named.source.endswith(".")
        assert name in ("default", "mae") or f"--recipe {name}" in named.command
        (tmp_path / "recipe.yaml").write_text(recipe_to_yaml(named.recipe))
        assert read_recipe(str(tmp_path / "recipe.yaml")) == named.recipe
    assert read_recipe("deit") == RECIPES["imagenet-deit"]
    assert set(ALIASES.values()) <= set(RECIPES)
    with pytest.raises(VitrailError, match="did you mean imagenet-deit3"):
        named_recipe("imagenet-deit33")


def test_the_command_lists_and_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    for words, wanted in (([], "plain-vit-90ep"), (["imagenet-deit"], "randaugment: rand-m9-mstd0.5-inc1")):
        with pytest.raises(SystemExit) as done:
            main(["recipes", *words])
        assert done.value.code == 0
        assert wanted in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["recipes", "--json"])
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == list(NAMED_RECIPES)
    assert Recipe() == named_recipe("default")


def test_the_page_is_what_the_benchmark_writes() -> None:
    root = Path(__file__).parents[2]
    spec = spec_from_file_location("recipes_benchmark", root / "benchmarks/recipes.py")
    assert spec is not None
    assert spec.loader is not None
    benchmark = module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    results = json.loads((root / "benchmarks/results/recipes.json").read_text())
    assert benchmark.page(results) == (root / "docs/recipes.md").read_text(), "run: python benchmarks/recipes.py page"
    assert all(f"`{row['command']}`" in benchmark.page(results) for row in results)
