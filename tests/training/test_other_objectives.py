"""Runs that are no classification: numbers, images without labels, objectives of the user's own."""

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from killable_runs import MASKED, make_pictures
from PIL import Image
from sklearn.metrics import mean_absolute_error, r2_score

import vitrail
from vitrail.data.augment_options import Augment
from vitrail.data.loader import OneView
from vitrail.errors import VitrailError
from vitrail.objectives.objective import Loss, Moment, Objective, ObjectiveConfig
from vitrail.objectives.registry import register_objective
from vitrail.objectives.regression import RegressionConfig
from vitrail.tasks.registry import resolve
from vitrail.training.recipe import Recipe
from vitrail.training.recipes import RECIPES
from vitrail.training.state import latest

NUMBERS = Recipe(
    model="compact_tiny_16",
    overrides={"stem": [[8], [16]], "embed_dim": 16, "num_heads": 2, "depth": 1},
    epochs=30,
    batch_size=16,
    evaluate_every=10,
    precision="float32",
    augment=Augment(crop="none", flip=0.0),
)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey images whose brightness and contrast are the numbers, on scales of their own."""
    folder = tmp_path_factory.mktemp("numbers")
    random = np.random.default_rng(0)
    lines = ["path,brightness,contrast"]
    for index in range(120):
        brightness, contrast = random.uniform(80, 170), random.uniform(5, 60)
        pixels = brightness + contrast * random.choice([-1, 1], (16, 16))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{index}.png")
        lines.append(f"{index}.png,{brightness * 1000:.1f},{contrast / 100:.4f}")
    (folder / "numbers.csv").write_text("\n".join(lines))
    return folder / "numbers.csv"


@pytest.fixture(scope="module")
def numbers(table: Path, tmp_path_factory: pytest.TempPathFactory) -> vitrail.Run:
    return vitrail.train(table, NUMBERS, out=tmp_path_factory.mktemp("run") / "numbers")


def test_numbers_are_learned_from_a_table_and_measured_in_their_own_units(numbers: vitrail.Run, table: Path) -> None:
    checkpoint = numbers.checkpoint
    assert checkpoint.task.name == "regression"
    assert checkpoint.class_names == ("brightness", "contrast")
    rows = {row["path"]: row for row in csv.DictReader(table.read_text().splitlines())}
    predictions = list(vitrail.predict(checkpoint, [table.parent]))
    found = np.array([[value for _, value in each.values] for each in predictions])
    truth = np.array(
        [[float(rows[Path(each.path).name][name]) for name in checkpoint.class_names] for each in predictions]
    )
    evaluation = vitrail.evaluate(checkpoint, table, split="all")
    assert [row.r2 for row in evaluation.per_value] == pytest.approx(r2_score(truth, found, multioutput="raw_values"))
    errors = mean_absolute_error(truth, found, multioutput="raw_values")
    assert [row.mean_absolute_error for row in evaluation.per_value] == pytest.approx(errors)
    assert evaluation.r2 > 0.2, "better than the mean of the numbers"


def test_fine_tuning_on_the_same_numbers_keeps_the_heads_units_and_not_those_of_another_unit(
    numbers: vitrail.Run, table: Path, tmp_path: Path
) -> None:
    few = replace(NUMBERS, model=None, overrides={}, steps=1, epochs=None, lr=1e-9)
    rows = table.read_text().splitlines()
    (table.parent / "more.csv").write_text("\n".join(rows[:80]))
    more = vitrail.train(table.parent / "more.csv", few, weights=numbers.path, out=tmp_path / "more")
    fitted, before = (resolve(run.checkpoint.task) for run in (more, numbers))
    assert replace(fitted, half_widths=()) == replace(before, half_widths=())
    assert not fitted.half_widths, "eight validation images are too few, and the old intervals are not its own"
    weight, before = (run.checkpoint.model.head.classify.weight for run in (more, numbers))
    torch.testing.assert_close(weight, before, atol=1e-5, rtol=1e-3)
    cells = [row.split(",") for row in rows[1:]]
    other = [f"{path},{float(brightness) / 1000},{contrast}" for path, brightness, contrast in cells]
    (table.parent / "other.csv").write_text("\n".join([rows[0], *other]))
    run = vitrail.train(table.parent / "other.csv", few, weights=numbers.path, out=tmp_path / "other")
    mean = dict(run.checkpoint.task.options)["mean"]
    assert 80 < mean[0] < 170
    assert run.checkpoint.model.head.classify.weight.std() < 0.03, "a new head"


def test_intervals_come_from_the_errors_on_the_validation_images(table: Path, tmp_path: Path) -> None:
    # In float32, as rounding to bfloat16 depends on the size of a batch.
    numbers = vitrail.train(table, replace(NUMBERS, precision="float32"), out=tmp_path / "run")
    rows = {row["path"]: row for row in csv.DictReader(table.read_text().splitlines())}
    parts = csv.DictReader((numbers.path / "splits.csv").read_text().splitlines())
    part_of = {row["name"]: row["split"] for row in parts}
    found = vitrail.predict(numbers.path, table, precision="float32")
    predictions = {Path(each.path).name: each for each in found}
    evaluation = vitrail.evaluate(numbers.path, table, precision="float32")
    for column, name in enumerate(numbers.checkpoint.class_names):
        gaps: dict[str, list[float]] = {"train": [], "val": [], "test": []}
        for path, each in predictions.items():
            gaps[part_of[path]].append(abs(each.values[column][1] - float(rows[path][name])))
        assert len(gaps["val"]) == 12
        low, high = predictions["0.png"].intervals[column]
        width = sorted(gaps["val"])[12 - 1]  # ⌈13 · 0.9⌉ = 12
        assert (high - low) / 2 == pytest.approx(width, rel=1e-5)
        inside = sum(gap <= width for gap in gaps["test"])
        assert evaluation.per_value[column].coverage == pytest.approx(inside / 12)
    assert evaluation.count == 12


@pytest.mark.exhaustive
def test_a_quantile_is_learned_and_chosen_by_its_own_loss(table: Path, tmp_path: Path) -> None:
    objective = RegressionConfig(loss="quantile", quantile=0.9)
    run = vitrail.train(table, replace(NUMBERS, objective=objective), out=tmp_path / "run")
    found = vitrail.evaluate(run.path, table, split="all")
    assert found.quantile == 0.9
    assert all(row.at_most > 0.7 for row in found.per_value), "far more than the half that the mean has"
    assert found.d2 > 0.1, "better than the quantile of the labels"
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    best = max(rows, key=lambda row: row["val_d2"])
    assert run.checkpoint.info["metrics"]["step"] == best["step"]
    assert vitrail.resume(run.path).metrics == run.metrics
    assert "D² of the quantile 0.9" in (run.path / "report.html").read_text(encoding="utf-8")
    tuned = replace(NUMBERS, model=None, overrides={}, steps=1, epochs=None, lr=1e-9)
    middle = vitrail.train(table, tuned, weights=run.path, out=tmp_path / "middle").checkpoint.task
    assert "quantile" not in dict(middle.options), "another loss learns no quantile"
    solved = replace(tuned, objective=objective, solver="lbfgs")
    with pytest.raises(VitrailError, match="has loss quantile, which L-BFGS cannot minimise: train the head by steps"):
        vitrail.train(table, solved, weights=run.path, out=tmp_path / "solved")


@pytest.mark.exhaustive
def test_an_own_module_learns_the_tables_task(table: Path, tmp_path: Path) -> None:
    sizes = {"image_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 1, "num_heads": 2, "in_channels": 1}
    module = vitrail.create_model("vit_tiny_patch16_224", num_classes=2, **sizes)
    run = vitrail.train(table, replace(NUMBERS, model=None, overrides={}), model=module, out=tmp_path / "run")
    assert run.checkpoint.task.name == "regression"
    assert vitrail.load(run.path).task == run.checkpoint.task
    assert module.config.task.name == "classification", "the user's module is not changed"


def test_a_run_of_numbers_is_published(numbers: vitrail.Run, table: Path) -> None:
    report = (numbers.path / "report.html").read_text(encoding="utf-8")
    for words in (
        "Predicted and true numbers",
        "Validation quality",
        "Prediction intervals",
        "mean absolute error, brightness",
        "Worst mistakes",
    ):
        assert words in report
    card = (numbers.path / "README.md").read_text(encoding="utf-8")
    assert "Its output for an image is 2 numbers: brightness, contrast." in card
    assert "trained from random weights on" in card
    stored = json.loads((numbers.path / "evaluation.json").read_text())
    assert stored["split"] == "test"
    assert numbers.metrics["test_r2"] == pytest.approx(np.mean([row["r2"] for row in stored["per_value"]]))
    splits = csv.DictReader((numbers.path / "splits.csv").read_text().splitlines())
    assert [row["split"] for row in splits].count("test") == 12


def test_a_loss_that_does_not_fit_the_labels_is_a_sentence(table: Path, tmp_path: Path) -> None:
    recipe = replace(NUMBERS, objective=RECIPES["probe"].objective)
    with pytest.raises(
        VitrailError, match=r"objective supervised needs labels for classification, video, and .* labels for regression"
    ):
        vitrail.train(table, recipe, out=tmp_path / "run")
    with pytest.raises(VitrailError, match="is for detection, and regression needs a model for"):
        vitrail.train(table, replace(NUMBERS, model="detr_resnet50", overrides={}), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of any depth, without labels."""
    folder = make_pictures(tmp_path_factory.mktemp("photos") / "album")
    return folder.rename(folder.with_name("unlabelled"))


@pytest.fixture(scope="module")
def pretrained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> vitrail.Run:
    recipe = replace(MASKED, epochs=6, evaluate_every=2, save_minutes=5.0)
    return vitrail.pretrain(photos, recipe, out=tmp_path_factory.mktemp("run") / "mae")


def test_pretraining_is_judged_by_its_loss_on_images_it_does_not_see(pretrained: vitrail.Run) -> None:
    rows = [json.loads(line) for line in (pretrained.path / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [2, 4, 6]
    best = min(rows, key=lambda row: row["val_loss"])
    assert pretrained.checkpoint.info["metrics"]["step"] == best["step"]
    assert pretrained.metrics["val_loss"] == pytest.approx(best["val_loss"], rel=1e-5)
    assert rows[-1]["val_loss"] < rows[0]["val_loss"]
    assert pretrained.checkpoint.task.name == "reconstruction"
    assert (pretrained.path / "splits.csv").read_text().count(",val,") == 7


def test_a_pretraining_that_learned_nothing_is_named(photos: Path, tmp_path: Path) -> None:
    recipe = replace(MASKED, epochs=None, steps=1, lr=1e-9)
    run = vitrail.pretrain(photos, recipe, out=tmp_path / "run")
    found = json.loads((run.path / "evaluation.json").read_text(encoding="utf-8"))
    (sentence,) = [each for each in found["cautions"] if "mean of each patch" in each]
    assert sentence.startswith("The result is no better than predicting the mean of each patch (loss ")
    assert sentence in (run.path / "report.html").read_text(encoding="utf-8")


def test_pretraining_leaves_a_report_with_its_reconstructions(pretrained: vitrail.Run) -> None:
    report = (pretrained.path / "report.html").read_text(encoding="utf-8")
    assert "Reconstructions" in report
    assert "<h3>Loss</h3>" in report
    assert "Validation loss" not in report  # the first chart has it
    assert report.count('<div class="images"><figure>') == 6 + 1  # a row for each image, and the batch
    card = (pretrained.path / "README.md").read_text(encoding="utf-8")
    assert "Its output for an image is features, learned without labels." in card
    assert ">Confusion<" not in report


def test_what_was_pretrained_can_be_fine_tuned_embedded_and_resumed(
    pretrained: vitrail.Run, photos: Path, tmp_path: Path
) -> None:
    tuned = vitrail.train(
        make_pictures(tmp_path / "three kinds"),
        replace(RECIPES["finetune"], epochs=1, batch_size=16, precision="float32"),
        weights=pretrained.path,
        out=tmp_path / "tuned",
    )
    assert tuned.checkpoint.task.name == "classification"
    assert tuned.checkpoint.class_names == ("class 0", "class 1", "class 2")
    vectors = vitrail.embed(pretrained.checkpoint, photos, precision="float32")
    assert vectors.vectors.shape == (72, 32)
    again = vitrail.resume(pretrained.path)
    assert again.metrics == pretrained.metrics


def test_pretraining_needs_an_objective_without_labels(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(VitrailError, match="learns from labels: use `vitrail train`"):
        vitrail.pretrain(photos, objective="supervised", out=tmp_path / "run")
    with pytest.raises(VitrailError, match="hides patches of a plain ViT"):
        vitrail.pretrain(photos, Recipe(model="swin_tiny_patch4_window7_224", steps=1), out=tmp_path / "run")


class Distance(Objective):
    """The distance of an image's embedding to a centre that follows the embeddings, and to a learned one."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__(model)
        self.learned = torch.nn.Linear(1, 1)
        self.register_buffer("centre", torch.zeros(1))
        self.seen: torch.Tensor | None = None

    def forward(self, batch, moment):  # type: ignore[no-untyped-def]
        value = self.model.forward_features(batch.pixels).x.mean()
        self.seen = value.detach()
        parts = {
            "moving": (value - self.centre).square().sum(),
            "learned": self.learned(value.view(1, 1)).square().sum(),
        }
        return Loss(sum(parts.values()), parts)

    def after_step(self, moment: Moment) -> None:
        self.centre.lerp_(self.seen, 0.1)


@register_objective
@dataclass(frozen=True, kw_only=True)
class DistanceConfig(ObjectiveConfig):
    name: ClassVar[str] = "distance"
    quality: ClassVar[str] = "last"

    def build(self, model, labels):  # type: ignore[no-untyped-def]
        return Distance(model)

    def views(self, augmentation):  # type: ignore[no-untyped-def]
        return OneView(augmentation.transform())


def test_an_objective_of_ones_own_learns_logs_its_parts_and_resumes(photos: Path, tmp_path: Path) -> None:
    recipe = replace(MASKED, objective=DistanceConfig(), epochs=2, ema=0.0)
    run = vitrail.pretrain(photos, recipe, objective="distance", out=tmp_path / "run")
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        assert row["train_loss"] == pytest.approx(row["train_moving"] + row["train_learned"], rel=1e-5)
        assert row["val_loss"] == pytest.approx(row["val_moving"] + row["val_learned"], rel=1e-5)
    last = latest(run.path / "checkpoints")
    assert last is not None
    state = vitrail.checkpoint.native.read_tensors(last / "trainer.safetensors")[0]
    assert state["objective.centre"].abs().item() > 0
    assert "optimizer.learned.weight:exp_avg" in state
    assert run.checkpoint.info["metrics"]["step"] == rows[-1]["step"], "the last state is kept"
    assert ">Moving<" in (run.path / "report.html").read_text(encoding="utf-8")
    assert vitrail.resume(run.path).metrics == run.metrics
