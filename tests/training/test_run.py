"""Whole runs through the public function: small, but real."""

import json
import os
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from killable_runs import SMALL, make_pictures
from PIL import Image

import vitrail
from vitrail.data.augment_options import Augment
from vitrail.errors import VitrailError
from vitrail.task_spec import MULTI_LABEL
from vitrail.training.loop import Diverged
from vitrail.training.resolve import OwnParts, resolve
from vitrail.training.run import resume, train
from vitrail.training.state import latest
from vitrail.training.stop import Stopped
from vitrail.training.time_budget import fix_steps
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
    start = replace(
        vitrail.training.recipe.RECIPES[recipe], weights=str(run.path), epochs=2, image_size=24, batch_size=8
    )
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
    made = train(tmp_path / "labels.csv", replace(QUICK, batch_size=8), out=tmp_path / "run")
    assert made.checkpoint.preprocess.channels == 5
    assert made.checkpoint.task == MULTI_LABEL
    assert 0 <= made.metrics["test_mean_average_precision"] <= 1


def test_a_time_budget_gives_the_steps_that_fit_into_it(source, tmp_path, monkeypatch):
    monkeypatch.setattr("vitrail.training.time_budget.measure_speed", lambda *_: (1.0, 2.0))
    monkeypatch.setattr("vitrail.training.time_budget.first_reading_seconds", lambda _: 3.0)
    monkeypatch.setattr("vitrail.training.time_budget.time.monotonic", lambda: 100.0)
    recipe = replace(QUICK, epochs=None, minutes=0.5)
    setup = resolve(recipe, read_data(source, Reading()), OwnParts())
    fixed, seconds = fix_steps(setup, 95.0, tmp_path)
    # 57 images in 3 batches an epoch: a step takes 1 s and a third of an evaluation. Of the 30 s 5 have passed, reading
    # takes 3, testing as long as validating, and the report 8.
    left = 30 - 5 - 3 - 2 * len(setup.data.test) / len(setup.data.val) - 8
    assert len(setup.train_loader()) == 3
    assert seconds == pytest.approx(1 + 2 / 3)
    assert fixed.recipe.steps == int(left / (1 + 2 / 3))
    assert setup.recipe.steps is None, "a setup is not changed"
    by_epochs, nothing = fix_steps(replace(setup, recipe=replace(setup.recipe, minutes=None, epochs=4)), 95.0, tmp_path)
    assert (by_epochs.recipe.steps, nothing) == (12, None)
    with pytest.raises(VitrailError, match=r"minutes are too short: a step takes 1\.7 s"):
        fix_steps(replace(setup, recipe=replace(setup.recipe, minutes=0.2)), 95.0, tmp_path)


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


@pytest.mark.parametrize(
    "changes",
    [{"accumulate": 2}, {"checkpoint_activations": True}, {"precision": "bfloat16"}, {"loggers": ("tensorboard",)}],
)
def test_the_other_ways_to_step(source, tmp_path, changes):
    made = train(source, replace(QUICK, optimizer="adamw", **changes), out=tmp_path / "run")
    assert np.isfinite(made.metrics["test_loss"])


def test_activation_checkpointing_changes_nothing_but_memory(source, tmp_path):
    plain = train(source, QUICK, out=tmp_path / "plain")
    frugal = train(source, replace(QUICK, checkpoint_activations=True), out=tmp_path / "frugal")
    assert (plain.path / "metrics.jsonl").read_bytes() == (frugal.path / "metrics.jsonl").read_bytes()
