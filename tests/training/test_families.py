"""The smallest row of every family goes through a run on real digits: sizes, growth, optimiser, report, reload."""

from pathlib import Path

import pytest
from tests.models.test_families import SMALLEST

import vitrail
from vitrail.models.registry import model_config
from vitrail.training.recipe import Recipe
from vitrail.training.recipe_file import read_recipe

QUICK = {"vit_tiny_patch32_224"}


def trainable(name: str) -> bool:
    """Whether a row is a classifier of images, or becomes one when it is given classes."""
    config = model_config(name)
    return len(config.pixels_shape) == 3 and config.can_classify


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.exhaustive)
        for name in SMALLEST
        if trainable(name)
    ],
)
def test_a_run_of_two_steps(name: str, tmp_path: Path) -> None:
    fields = {key: value for key, value in SMALLEST[name].items() if key != "num_classes"}
    recipe = Recipe(model=name, overrides=fields, steps=2, workers=0, device="cpu", precision="float32")
    run = vitrail.train("digits", recipe, out=tmp_path / "run")
    scored = vitrail.evaluate(run.path, "digits", device="cpu", precision="float32")  # with the checkpoint of the run
    assert run.metrics["test_top1"] == pytest.approx(scored.top1, abs=1.01 / scored.count)  # one tie in the last digit
    assert run.metrics["test_loss"] == pytest.approx(scored.loss, rel=1e-4)
    assert vitrail.load(tmp_path / "run").model.config == run.checkpoint.model.config
    assert (tmp_path / "run" / "report.html").stat().st_size > 1000


@pytest.mark.exhaustive
def test_muon_only_where_its_steps_are_not_too_dear(tmp_path: Path) -> None:
    def chosen(name: str) -> str | None:
        recipe = Recipe(model=name, overrides={"depth": 1}, steps=1, workers=0, device="cpu")
        vitrail.train("digits", recipe, out=tmp_path / name)
        return read_recipe(str(tmp_path / name / "recipe.yaml")).optimizer

    assert chosen("deit_tiny_patch16_224") == "muon"
    assert chosen("mixer_b16_224") == "adamw"
