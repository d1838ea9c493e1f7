"""A model of every kind, made small, goes through a run on real digits: sizes, growth, optimiser, report, reload."""

from pathlib import Path

import pytest

import vitrail
from vitrail.training.recipe import Recipe
from vitrail.training.recipe_file import read_recipe

FAMILIES = {
    "pvt_v2_b0": {"depths": (1, 1, 1, 1)},
    "levit_128s": {"depths": (1, 1, 1)},
    "swin_tiny_patch4_window7_224": {"embed_dim": 24, "depths": (1, 2), "num_heads": (1, 2)},
    "cvt_13_224": {"embed_dims": (16, 24, 36), "depths": (1, 1, 1), "num_heads": (1, 1, 2)},
    "convnext_atto": {"depths": (1, 1, 1, 1)},
    "mixer_s16_224": {"depth": 1, "embed_dim": 32},
    "cait_xxs24_224": {"depth": 1, "embed_dim": 32, "num_heads": 2},
    "adaptive_vit_tiny_patch16_224": {"depth": 1, "embed_dim": 24, "num_heads": 2},
    "vit_tiny_patch14_224": {"depth": 1, "embed_dim": 24, "num_heads": 2},
    "mobilenet_v3_small": {},
}


QUICK = {"pvt_v2_b0", "vit_tiny_patch14_224"}


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.exhaustive) for name in FAMILIES]
)
def test_a_run_of_two_steps(name: str, tmp_path: Path) -> None:
    recipe = Recipe(model=name, overrides=FAMILIES[name], steps=2, workers=0, device="cpu")
    run = vitrail.train("digits", recipe, out=tmp_path / "run")
    assert 0 <= run.metrics["test_top1"] <= 1
    assert vitrail.load(tmp_path / "run").model.config == run.checkpoint.model.config
    assert (tmp_path / "run" / "report.html").stat().st_size > 1000


@pytest.mark.exhaustive
def test_muon_only_where_its_steps_are_not_too_dear(tmp_path: Path) -> None:
    def chosen(name: str) -> str | None:
        recipe = Recipe(model=name, overrides={"depth": 1}, steps=1, workers=0, device="cpu")
        vitrail.train("digits", recipe, out=tmp_path / name)
        return read_recipe(str(tmp_path / name / "recipe.yaml")).optimizer

    assert chosen("deit_tiny_patch16_224") == "muon"
    assert chosen("mixer_s16_224") == "adamw"
