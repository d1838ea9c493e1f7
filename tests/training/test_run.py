"""Whole runs through the public function: small, but real."""

import csv
import itertools
import json
import os
import shutil
import signal
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from killable_runs import SMALL, make_pictures
from PIL import Image
from sklearn.metrics import average_precision_score

import vitrail
from vitrail.data.augment_options import Augment
from vitrail.errors import VitrailError
from vitrail.objectives.supervised import SupervisedConfig
from vitrail.task_spec import MULTI_LABEL
from vitrail.training.loop import Diverged, Trainer
from vitrail.training.measure import outputs
from vitrail.training.outline import image_counts
from vitrail.training.recipe import Recipe
from vitrail.training.recipes import RECIPES
from vitrail.training.resolve import OwnParts, resolve
from vitrail.training.run import resume, train
from vitrail.training.state import latest
from vitrail.training.step_plan import StepPlan
from vitrail.training.stop import Stopped
from vitrail.training.time_budget import fix_steps, time_budget
from vitrail.training.training_data import Reading, read_data

QUICK = replace(
    SMALL,
    epochs=3,
    ema=0.0,
    drop_path=0.0,
    dropout=0.0,
    augment=Augment(crop="none"),
    objective=None,
    save_minutes=5.0,
)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("pictures") / "three kinds")


@pytest.fixture(scope="module")
def run(source, tmp_path_factory):
    said = []
    made = train(source, replace(QUICK, epochs=12), out=tmp_path_factory.mktemp("run") / "r", say=said.append)
    assert "3 classes" in said[0]
    return made


def test_a_run_learns_and_leaves_what_people_publish(run):
    assert run.metrics["test_top1"] == 1.0
    left = {path.name for path in run.path.iterdir()}
    assert left >= {
        "recipe.yaml",
        "metrics.jsonl",
        "metrics.csv",
        "splits.csv",
        "report.html",
        "README.md",
        "data.json",
    }
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, 13))
    assert run.checkpoint.info["metrics"]["test_top1"] == 1.0
    assert run.checkpoint.class_names == ("class 0", "class 1", "class 2")


def test_evaluate_and_predict_agree_with_the_run(run, source):
    assert vitrail.evaluate(run.path, source).top1 == 1.0
    predictions = list(vitrail.predict(run.path, [source / "class 1"]))
    assert len(predictions) == 24
    assert {prediction.classes[0][0] for prediction in predictions} == {"class 1"}


def test_the_same_recipe_gives_the_same_run(run, source, tmp_path):
    again = train(source, str(run.path), out=tmp_path / "again")
    for name in ("metrics.jsonl", "checkpoints/last/model.safetensors"):
        assert (again.path / name).read_bytes() == (run.path / name).read_bytes()


@pytest.mark.parametrize("recipe", ["finetune", "probe"])
def test_fine_tuning_with_other_classes_and_another_size(run, tmp_path, recipe):
    other = make_pictures(tmp_path / "two", classes=2, size=24)
    epochs = None if RECIPES[recipe].solver == "lbfgs" else 2
    start = replace(RECIPES[recipe], weights=str(run.path), epochs=epochs, image_size=24, batch_size=8)
    tuned = train(other, start, out=tmp_path / "tuned")
    assert tuned.checkpoint.class_names == ("class 0", "class 1")
    assert tuned.checkpoint.preprocess.image_size == (24, 24)
    before, after = run.checkpoint.model.state_dict(), tuned.checkpoint.model.state_dict()
    kept = torch.equal(
        before["encoder.blocks.0.mlp.branch.expand.weight"],
        after["encoder.blocks.0.mlp.branch.expand.weight"],
    )
    assert kept == (recipe == "probe")


def test_many_channels_and_several_labels(tmp_path):
    random = np.random.default_rng(0)
    lines = ["path,label"]
    for index in range(40):
        labels = [name for name, on in (("left", index % 2), ("right", index // 2 % 2)) if on]
        image = random.normal(size=(5, 16, 16)).astype(np.float32)
        image[0, :, :8] += 3 * ("left" in labels)
        image[4, :, 8:] += 3 * ("right" in labels)
        np.save(tmp_path / f"{index}.npy", image)
        lines.append(f"{index}.npy,{';'.join(labels) or 'left;right'}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    made = train(tmp_path / "labels.csv", replace(QUICK, batch_size=8, precision="float32"), out=tmp_path / "run")
    assert made.checkpoint.preprocess.channels == 5
    assert made.checkpoint.task == MULTI_LABEL
    names = made.checkpoint.class_names
    with (made.path / "splits.csv").open(newline="") as file:
        held_out = [row["name"] for row in csv.DictReader(file) if row["split"] == "test"]
    truth = {line.split(",")[0]: line.split(",")[1].split(";") for line in lines}
    pixels = torch.stack([made.checkpoint.preprocess(np.load(tmp_path / name)) for name in held_out])
    with torch.inference_mode():
        scores = made.checkpoint.model(pixels).numpy()
    expected = average_precision_score([[label in truth[name] for label in names] for name in held_out], scores)
    assert made.metrics["test_mean_average_precision"] == pytest.approx(expected, abs=1e-6)


def test_epochs_give_the_steps(source, tmp_path):
    setup = resolve(replace(QUICK, epochs=4), read_data(source, Reading()), OwnParts())
    assert len(setup.train_loader()) == 3
    assert fix_steps(setup).recipe.steps == 12
    assert setup.recipe.steps is None, "a setup is not changed"


@pytest.mark.exhaustive
def test_a_run_with_a_time_budget_repeats_its_plan_after_a_stop(source, tmp_path, monkeypatch):
    clock = itertools.count(0.0, 0.5)  # seconds pass whenever the clock is read, on every machine alike

    def budget(setup, _, keep):
        return replace(time_budget(setup, 0.0, keep), clock=lambda: next(clock))

    def still(setup, _, keep):  # nothing is due, so that nothing is planned anew
        return replace(time_budget(setup, 0.0, keep), clock=lambda: 0.0)

    monkeypatch.setattr("vitrail.training.finish.time_budget", budget)
    whole = train(source, replace(QUICK, epochs=None, minutes=1, evaluate_every=None), out=tmp_path / "run")
    plan = whole.path.joinpath("plan.json").read_text()
    steps = [json.loads(line)["step"] for line in (whole.path / "metrics.jsonl").read_text().splitlines()]
    assert len(steps) > 1
    assert StepPlan.from_json(plan).last.steps == steps[-1] > 10
    again = tmp_path / "again"
    shutil.copytree(whole.path, again)
    shutil.rmtree(again / "checkpoints" / "last")
    shutil.rmtree(again / "checkpoints" / "best")
    monkeypatch.setattr("vitrail.training.finish.time_budget", still)
    run = vitrail.resume(again)
    assert (again / "metrics.jsonl").read_text() == (whole.path / "metrics.jsonl").read_text()
    assert (again / "plan.json").read_text() == plan
    for name, weights in whole.checkpoint.model.state_dict().items():
        torch.testing.assert_close(run.checkpoint.model.state_dict()[name], weights, rtol=0, atol=0)
    spent = [json.loads((path / "time.json").read_text())["seconds"] for path in (whole.path, again)]
    assert spent[1] >= spent[0], "a resumed run adds its time to that before the stop"
    assert json.loads((again / "evaluation.json").read_text()) == json.loads(
        (whole.path / "evaluation.json").read_text()
    )


def test_a_run_that_has_no_time_to_read_all_images_uses_a_sample_and_resumes_with_it(source, tmp_path, monkeypatch):
    monkeypatch.setattr("vitrail.data.survey._FEWEST", 40)
    monkeypatch.setattr("vitrail.training.reading._READING", 0.0)
    monkeypatch.setattr("vitrail.training.finish.time_budget", lambda setup, _, keep: None)
    monkeypatch.setattr("vitrail.training.time_budget._FIRST_GUESS", 4)
    monkeypatch.setenv("VITRAIL_CACHE", str(tmp_path / "cache"))
    said = []
    recipe = replace(QUICK, epochs=None, minutes=1.0)
    whole = train(source, recipe, out=tmp_path / "run", say=said.append)
    assert any("40 of 72 images are used" in line for line in said), said
    assert len((whole.path / "splits.csv").read_text().splitlines()) == 41
    shutil.rmtree(whole.path / "checkpoints" / "best")
    shutil.rmtree(whole.path / "checkpoints" / "last")
    assert vitrail.resume(whole.path).metrics == whole.metrics


def test_large_splits_are_sampled_under_a_time_budget(source, monkeypatch):
    monkeypatch.setattr("vitrail.training.setup._FEWEST_EVALUATED", 3)
    monkeypatch.setattr("vitrail.training.setup.SLOW_CPU", 1.0)
    data = read_data(source, Reading())
    setup = resolve(replace(QUICK, epochs=None, minutes=0.5), data, OwnParts())
    assert [len(setup.part(split)) for split in ("val", "test")] == [3, 3]
    assert set(setup.part("val").samples) < set(data.val.samples)
    assert f"3 of {len(data.val)} validation, drawn at random" in image_counts(setup)
    assert len(outputs(setup, setup.checkpoint.model, "test")) == 3
    whole = resolve(QUICK, data, OwnParts())
    assert whole.part("val") == data.val


def test_divergence_names_step_files_and_last_good_state(source, tmp_path):
    wild = replace(QUICK, optimizer="adamw", lr=1e30, clip=0.0, warmup=0.0)
    with pytest.raises(Diverged, match=r"at step \d+, on the batch class.*third of the learning rate.*Last good state"):
        train(source, wild, out=tmp_path / "run")


def test_early_stopping_is_part_of_the_state(source, tmp_path):
    made = train(source, replace(QUICK, epochs=30, patience=2), out=tmp_path / "run")
    quality = [json.loads(line)["val_top1"] for line in (made.path / "metrics.jsonl").read_text().splitlines()]
    assert len(quality) < 30
    assert quality.index(max(quality)) == len(quality) - 3


def test_a_signal_saves_and_the_run_goes_on(source, tmp_path):
    def stop(items, total, label):
        for done, item in enumerate(items):
            if label == "training" and done == 4:
                os.kill(os.getpid(), signal.SIGTERM)
            yield item

    assert threading.current_thread() is threading.main_thread()
    with pytest.raises(Stopped, match="SIGTERM after step 5"):
        train(source, QUICK, out=tmp_path / "stopped", progress=stop)
    resumed = resume(tmp_path / "stopped")
    whole = train(source, QUICK, out=tmp_path / "whole")
    for name in (
        "metrics.jsonl",
        "checkpoints/last/trainer.safetensors",
        "checkpoints/last/model.safetensors",
    ):
        assert (resumed.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_a_damaged_state_is_noticed_and_the_one_before_is_used(source, tmp_path):
    made = train(source, replace(QUICK, save_minutes=1e-6), out=tmp_path / "run")
    last = made.path / "checkpoints/last"
    expected = (last / "model.safetensors").read_bytes()
    (last / "model.safetensors").write_bytes(expected[:-1] + bytes([expected[-1] ^ 1]))
    with pytest.warns(UserWarning, match="altered"):
        assert latest(made.path / "checkpoints") == made.path / "checkpoints/previous"
    with pytest.warns(UserWarning, match="altered"):
        resume(made.path)
    assert (last / "model.safetensors").read_bytes() == expected


@pytest.mark.parametrize("suffix", ["new", "old"])
def test_a_last_state_killed_before_its_rename_comes_to_its_place(run, tmp_path, suffix):
    folder = Path(shutil.copytree(run.path, tmp_path / "run"))
    expected = (folder / "checkpoints/last/trainer.json").read_bytes()
    (folder / "checkpoints/last").rename(folder / f"checkpoints/last.{suffix}")
    resume(folder)
    assert (folder / "checkpoints/last/trainer.json").read_bytes() == expected
    assert not (folder / f"checkpoints/last.{suffix}").exists()


def test_changed_data_is_noticed(source, tmp_path):
    copy = make_pictures(tmp_path / "data")
    made = train(copy, QUICK, out=tmp_path / "run")
    Image.new("RGB", (16, 16)).save(copy / "class 0" / "new.png")
    with pytest.raises(VitrailError, match="is not what"):
        resume(made.path)


def test_no_run_writes_over_another(run, source):
    with pytest.raises(VitrailError, match="exists already"):
        train(source, QUICK, out=run.path)


VIT = replace(
    QUICK,
    model="vit_tiny_patch16_224",
    overrides={"patch_size": 4, "embed_dim": 32, "num_heads": 2, "depth": 2},
    image_size=16,
    start_size=1.0,
    objective=SupervisedConfig(label_smoothing=0.0),
    optimizer="adamw",
    warmup=0.0,
    precision="float32",
)
"""A model without batch norm, with nothing random in its steps."""


def stepped(source: Path, recipe: Recipe, steps: int = 1, optimizer: str = "own") -> Trainer:
    """A trainer after its first steps."""
    setup = resolve(replace(recipe, epochs=None, steps=5), read_data(source, Reading()), OwnParts())
    trainer = setup.trainer(StepPlan.fixed(5, every=5))
    if optimizer == "sgd":
        weights = list(trainer.model.parameters())
        trainer.optimizers = [torch.optim.SGD([{"params": weights, "peak_lr": 0.5}], lr=0.5)]
    batches = trainer.batches()
    for _ in range(steps):
        trainer.step(batches)
    return trainer


@pytest.mark.parametrize(("batch_size", "accumulate"), [(8, 2), (4, 4)])
def test_accumulated_batches_are_one_larger_batch(source, batch_size, accumulate):
    whole = replace(VIT, batch_size=16)
    parts = replace(VIT, batch_size=batch_size, accumulate=accumulate)
    one, sum_of = (stepped(source, recipe, steps=3, optimizer="sgd") for recipe in (whole, parts))
    start = resolve(whole, read_data(source, Reading()), OwnParts()).checkpoint.model.state_dict()
    for name, weights in one.model.state_dict().items():
        assert not torch.equal(weights, start[name]), name
        torch.testing.assert_close(sum_of.model.state_dict()[name], weights, rtol=0, atol=1e-6)
    assert sum_of.counters.means()["loss"] == pytest.approx(one.counters.means()["loss"], rel=1e-5)
    # The first step of AdamW is the sign of the gradient: its weights are compared where that is not rounding noise.
    one, sum_of = stepped(source, whole), stepped(source, parts)
    for (name, weights), other in zip(one.model.named_parameters(), sum_of.model.parameters(), strict=True):
        gradient, others = (
            trainer.optimizers[0].state[param]["exp_avg"] for trainer, param in ((one, weights), (sum_of, other))
        )
        torch.testing.assert_close(others, gradient, rtol=1e-3, atol=1e-8, msg=name)
        clear = gradient.abs() > 1e-3 * gradient.abs().max()
        torch.testing.assert_close(other[clear], weights[clear], rtol=0, atol=1e-6)


def _add_dtype(seen: list[torch.dtype], module: torch.nn.Module, given: Any, output: torch.Tensor) -> None:
    seen.append(output.dtype)


def test_precision_is_that_of_the_matrix_products_of_a_step(source):
    losses = {}
    for precision, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        setup = resolve(
            replace(VIT, precision=precision, epochs=None, steps=5), read_data(source, Reading()), OwnParts()
        )
        trainer = setup.trainer(StepPlan.fixed(5, every=5))
        linear = trainer.model.get_submodule("encoder.blocks.0.mlp.branch.expand")
        seen: list[torch.dtype] = []
        linear.register_forward_hook(partial(_add_dtype, seen))
        batch = next(trainer.batches())
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            expected = torch.nn.functional.cross_entropy(trainer.model.train()(batch.pixels).float(), batch.targets)
        seen.clear()
        trainer.step(trainer.batches())
        assert seen == [dtype]
        assert {weight.dtype for weight in trainer.model.parameters()} == {torch.float32}
        losses[precision] = trainer.counters.means()["loss"]
        assert losses[precision] == pytest.approx(expected.item(), rel=1e-5 if precision == "float32" else 1e-2)
    assert losses["bfloat16"] != losses["float32"]


def test_tensorboard_has_the_rows_of_the_log(source, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    made = train(source, replace(QUICK, loggers=("tensorboard",)), out=tmp_path / "run")
    rows = [json.loads(line) for line in (made.path / "metrics.jsonl").read_text().splitlines()]
    written = accumulator.EventAccumulator(str(made.path / "tensorboard")).Reload()
    for name in rows[0].keys() - {"step"}:
        found = [(event.step, event.value) for event in written.Scalars(name)]
        assert found == [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in rows]


@pytest.mark.exhaustive
def test_activation_checkpointing_changes_nothing_but_memory(source, tmp_path):
    plain = train(source, QUICK, out=tmp_path / "plain")
    frugal = train(source, replace(QUICK, checkpoint_activations=True), out=tmp_path / "frugal")
    assert (plain.path / "metrics.jsonl").read_bytes() == (frugal.path / "metrics.jsonl").read_bytes()
