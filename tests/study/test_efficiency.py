"""The study of data efficiency: nested subsets, equal FLOPs, resumed, and its tables."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from vitrail.data.open import open_source
from vitrail.errors import VitrailError
from vitrail.models.registry import model_config
from vitrail.pages.files import results_page, write_results
from vitrail.planning.flops import count
from vitrail.study.contestants import Contestant
from vitrail.study.efficiency import Efficiency, EfficiencyOptions, nested_subset, study_efficiency
from vitrail.study.efficiency_page import efficiency_table, factor_table, files
from vitrail.study.scaling_page import run_point, scaling_of_runs
from vitrail.study.trial_runs import Outcome

VIT_SPEC = "vit_tiny_patch16_224:patch_size=4:embed_dim=8:depth=1:num_heads=1"
CNN_SPEC = "compact_tiny_8:stem=[[8]]:embed_dim=8:num_heads=1:depth=1"
VIT, CNN = "vit_tiny_patch16_224", "compact_tiny_8"
OPTIONS = EfficiencyOptions(
    models=(VIT_SPEC, CNN_SPEC),
    fractions=(0.25, 0.5, 1.0),
    seeds=2,
    epochs=4,
    settings=("batch_size=8", "optimizer=adamw", "precision=float32", "augment.crop=none"),
)


def test_subsets_are_nested_and_have_every_class(shades):
    samples = open_source(shades).samples
    small, large = (nested_subset(samples, fraction, 3) for fraction in (0.2, 0.7))
    assert {sample.name for sample in small} < {sample.name for sample in large}
    assert sorted(sample.labels[0] for sample in small) == [0] * 3 + [1] * 3
    assert nested_subset(samples, 0.2, 4) != small
    assert len(nested_subset(samples, 0.001, 0)) == 2


def flops_of(trial):
    sizes = {"image_size": 8, "num_classes": 2}
    overrides = {name: ((8,),) if name == "stem" else value for name, value in trial.recipe.overrides.items()}
    return count(model_config(trial.recipe.model, **overrides, **sizes)).flops


def test_every_run_has_the_same_flops_and_curves_are_collected(shades, tmp_path, monkeypatch):
    def run_trials(trials, folder, **others):
        accuracies = [0.5, 0.6, 0.7, 0.8] * 3  # two seeds of both models, three fractions
        pairs = zip(trials, accuracies, strict=True)
        return [Outcome(trial, folder, 0.5, {"top1": accuracy}) for trial, accuracy in pairs]

    monkeypatch.setattr("vitrail.study.efficiency.run_trials", run_trials)
    found = study_efficiency(shades, tmp_path / "out", OPTIONS)
    trials = [outcome.trial for outcome in found.outcomes]
    images = max(found.curves[VIT])
    assert found.flops == 3 * flops_of(trials[0]) * images * 4
    for trial in trials:
        step = 3 * flops_of(trial) * trial.recipe.batch_size
        assert step * trial.recipe.steps == pytest.approx(found.flops, abs=step / 2)
        splits = [sample.split for sample in trial.source.samples]
        assert splits.count("train") == int(trial.name.split("-")[0])
    assert found.curves[VIT][images] == [0.5, 0.7]
    assert found.curves[CNN][images] == [0.6, 0.8]
    headers, rows = efficiency_table(found)
    assert headers == ["images", VIT, CNN]
    assert rows[0][1].startswith("60.0 ± ")
    assert [row[3] for row in factor_table(found)[1]] == ["not reached"] * 4
    (tmp_path / "out").mkdir()
    write_results(tmp_path / "out", files(found))
    with (tmp_path / "out/curves.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 12
    assert "Scaling laws" in results_page(files(found))


@pytest.mark.exhaustive  # twelve trainings
def test_the_study_trains_goes_on_and_its_runs_have_a_scaling_law(shades, tmp_path):
    found = study_efficiency(shades, tmp_path / "out", OPTIONS)
    labels: list[str] = []

    def listen(items, total, label):
        labels.append(label)
        return items

    again = study_efficiency(shades, tmp_path / "out", OPTIONS, progress=listen)
    assert again.curves == found.curves
    assert not any("train" in label for label in labels)  # all runs were read
    runs = [outcome.path for outcome in found.outcomes if outcome.trial.recipe.model != "compact_tiny_8"]
    size, error = run_point(runs[0], "images")
    assert size == min(found.curves[VIT])
    assert error == pytest.approx(1 - found.curves[VIT][int(size)][0])
    assert scaling_of_runs(runs, "images")[0].law.largest == max(found.curves[VIT])
    with pytest.raises(VitrailError, match="three different sizes"):
        scaling_of_runs(runs, "parameters")


def test_options_that_all_training_commands_have_are_those_of_every_run(shades, tmp_path, monkeypatch):
    def run_trials(trials, folder, **others):
        return [Outcome(trial, folder, 0.5, {"top1": 0.5}) for trial in trials]

    monkeypatch.setattr("vitrail.study.efficiency.run_trials", run_trials)
    options = EfficiencyOptions(
        models=(CNN_SPEC,),
        fractions=(1.0,),
        seeds=2,
        seed=5,
        epochs=1,
        image_size=16,
        batch_size=4,
        device="cpu",
        precision="bfloat16",
    )
    found = study_efficiency(shades, tmp_path / "out", options)
    recipes = [outcome.trial.recipe for outcome in found.outcomes]
    assert [recipe.seed for recipe in recipes] == [5, 6]
    shared = {(recipe.image_size, recipe.batch_size, recipe.device, recipe.precision) for recipe in recipes}
    assert shared == {(16, 4, "cpu", "bfloat16")}
    write_results(tmp_path / "out", files(found))
    with (tmp_path / "out/curves.csv").open() as file:
        assert [row["seed"] for row in csv.DictReader(file)] == ["5", "6"]


def test_fractions_that_are_the_same_number_are_trained_once(shades, tmp_path, monkeypatch):
    def run_trials(trials, folder, **others):
        assert len({trial.name for trial in trials}) == len(trials) == 4
        return [Outcome(trial, folder, 0.5, {"top1": 0.5}) for trial in trials]

    monkeypatch.setattr("vitrail.study.efficiency.run_trials", run_trials)
    found = study_efficiency(shades, tmp_path / "out", replace(OPTIONS, fractions=(0.01, 0.02), seeds=2))
    assert {images: len(seeds) for images, seeds in found.curves[VIT].items()} == {2: 2}


def test_what_is_not_possible_is_named(shades, tmp_path):
    with pytest.raises(VitrailError, match="seeds 0"):
        study_efficiency(shades, tmp_path, EfficiencyOptions(seeds=0))
    with pytest.raises(VitrailError, match="fractions"):
        study_efficiency(shades, tmp_path, EfficiencyOptions(fractions=(2.0,)))
    with pytest.raises(VitrailError, match="not a finished run"):
        run_point(Path(tmp_path), "images")
    with pytest.raises(VitrailError, match="not both"):
        study_efficiency(shades, tmp_path, EfficiencyOptions(epochs=1, minutes=1))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (EfficiencyOptions(epochs=0.0), "epochs 0 is not possible"),
        (EfficiencyOptions(epochs=float("nan")), "epochs nan is not possible"),
        (EfficiencyOptions(minutes=-1.0), "minutes -1 is not possible"),
        (EfficiencyOptions(settings=("weights=run",)), "the study sets weights of each run"),
        (EfficiencyOptions(settings=("overrides.depth=2",)), "the study sets overrides of each run"),
    ],
)
def test_settings_that_would_make_the_comparison_unequal_are_errors(options, words, shades, tmp_path):
    with pytest.raises(VitrailError, match=words):
        study_efficiency(shades, tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


def test_one_model_has_no_table_of_comparisons(tmp_path):
    model = Contestant("vit", "vit", {}, count(model_config("vit_tiny_patch16_224", image_size=16)))
    found = Efficiency(str(tmp_path / "images"), (model,), {"vit": {8: [0.5], 16: [0.75]}}, 1.0, 4, (), ())
    written = results_page(files(found))
    assert "How much more data" not in written
    assert "Data efficiency on images<" in written


@pytest.mark.parametrize(("seeds", "interval"), [(1, "one seed"), (2, "0.50×")])
def test_one_seed_has_no_interval(seeds, interval):
    cost = count(model_config("vit_tiny_patch16_224", image_size=16))
    models = tuple(Contestant(label, "vit", {}, cost) for label in "ab")
    curves = {"a": {8: [0.5] * seeds, 16: [0.75] * seeds}, "b": {16: [0.5] * seeds}}
    found = Efficiency("images", models, curves, 1.0, 4, (), ())
    assert factor_table(found)[1][0] == ["b", "16", "50.0 %", "0.50×", interval]
