"""Resuming needs the run and its data, wherever they are now, and nothing else."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from killable_runs import SMALL, make_pictures

import vitrail
from vitrail.checkpoint.rename_classes import DESCRIPTIONS, rename_classes
from vitrail.errors import VitrailError
from vitrail.training.loop import Trainer
from vitrail.training.recipes import RECIPES

QUICK = replace(SMALL, epochs=2, save_minutes=5.0, precision="float32")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("images") / "three kinds")


class Interrupted(Exception):  # noqa: N818 - what a test does to a run
    pass


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch):
    """Break the next run off after so many steps, with its state of that moment saved."""

    def arrange(steps: int) -> None:
        step = Trainer.step

        def counted(self, batches):
            if self.counters.step == steps:
                raise Interrupted
            step(self, batches)

        monkeypatch.setattr(Trainer, "step", counted)

    yield arrange
    monkeypatch.undo()


def weights(run: Path) -> bytes:
    return (run / "checkpoints/last/model.safetensors").read_bytes()


def test_a_fine_tune_resumes_without_what_it_started_from(source, tmp_path, stop_after, monkeypatch):
    start = vitrail.train(source, QUICK, out=tmp_path / "start").path
    recipe = replace(RECIPES["finetune"], epochs=2, batch_size=16, precision="float32")
    whole = vitrail.train(source, recipe, weights=start, out=tmp_path / "whole")
    stop_after(0)
    with pytest.raises(Interrupted):
        vitrail.train(source, recipe, weights=start, out=tmp_path / "stopped")
    monkeypatch.undo()
    shutil.rmtree(start)
    resumed = vitrail.resume(tmp_path / "stopped")
    assert weights(resumed.path) == weights(whole.path)
    assert resumed.metrics == whole.metrics


def test_a_run_resumes_where_it_and_its_data_were_moved_to(source, tmp_path, stop_after, monkeypatch):
    whole = vitrail.train(source, QUICK, out=tmp_path / "whole")
    data = Path(shutil.copytree(source, tmp_path / "data" / "three kinds"))
    stop_after(3)
    with pytest.raises(Interrupted):
        vitrail.train(data, replace(QUICK, save_minutes=1e-6), out=tmp_path / "stopped")
    monkeypatch.undo()
    moved = (tmp_path / "stopped").rename(tmp_path / "moved")
    data.rename(tmp_path / "elsewhere")
    with pytest.raises(VitrailError, match="does not exist"):
        vitrail.resume(moved)
    resumed = vitrail.resume(moved, source=tmp_path / "elsewhere")
    assert weights(resumed.path) == weights(whole.path)
    assert vitrail.resume(moved).metrics == whole.metrics, "the new place is written down"


def test_other_data_are_refused(source, tmp_path):
    run = vitrail.train(source, QUICK, out=tmp_path / "run")
    other = make_pictures(tmp_path / "other", size=20)
    with pytest.raises(VitrailError, match=r"is not what .* was trained on"):
        vitrail.resume(run.path, source=other)


def test_what_came_from_python_has_to_be_given_again(source, tmp_path):
    opened = vitrail.open_source(source)

    def halved(image: torch.Tensor) -> torch.Tensor:
        return vitrail.Preprocess(image_size=(16, 16), crop=1.0).fit(image) // 2

    run = vitrail.train(opened, QUICK, transform=halved, out=tmp_path / "run")
    with pytest.raises(VitrailError, match="trained with a source from Python"):
        vitrail.resume(run.path)
    with pytest.raises(VitrailError, match="trained with a transform from Python"):
        vitrail.resume(run.path, source=opened)
    assert vitrail.resume(run.path, source=opened, transform=halved).metrics == run.metrics


@pytest.mark.exhaustive
def test_a_renamed_run_goes_on_with_the_new_names(source, tmp_path, stop_after, monkeypatch):
    whole = vitrail.train(source, QUICK, out=tmp_path / "whole")
    names = ("class 0", "class 1", "class 2")
    stop_after(5)
    with pytest.raises(Interrupted):
        vitrail.train(source, replace(QUICK, save_minutes=1e-6), out=tmp_path / "stopped")
    monkeypatch.undo()
    for run in (whole.path, tmp_path / "stopped"):  # one has ended, one goes on after its first evaluation
        assert rename_classes(run, ["class 0=red & green"]) == ("red & green", *names[1:])
        resumed = vitrail.resume(run)
        assert resumed.metrics == whole.metrics
        assert weights(run) == weights(whole.path)
        assert resumed.checkpoint.class_names == ("red & green", *names[1:])
        described = [(run / name).read_text() for name in DESCRIPTIONS]
        assert all("class 0" not in text and "class 1" in text for text in described)
        assert ["red &amp; green" in text or "red & green" in text for text in described] == [True] * 3
    assert "class 0" in (whole.path / "splits.csv").read_text()
