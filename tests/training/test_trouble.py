"""What goes wrong around a run ends in a sentence, and leaves nothing behind that is wrong."""

import json
import os
import random
import shlex
import shutil
import signal
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from killable_runs import SMALL, make_pictures
from safetensors.torch import load_file

import vitrail
from vitrail.checkpoint.contract import Checkpoint
from vitrail.cli.main import main
from vitrail.cli.signals import terminable
from vitrail.data.bad_files import BadFiles
from vitrail.data.loader import TrainLoader
from vitrail.data.preprocess import Preprocess
from vitrail.engines.predictor import make_predictor
from vitrail.errors import VitrailError, is_out_of_memory
from vitrail.training import folder as run_folder
from vitrail.training.advice import memory_advice
from vitrail.training.folder import DATA, DIGESTS, GUARDED, RunFolder
from vitrail.training.loop import Diverged, Trainer
from vitrail.training.publish.next_steps import next_steps
from vitrail.training.recipe import Recipe
from vitrail.training.run import train

QUICK = replace(SMALL, epochs=None, steps=4, evaluate_every=0.34, optimizer="adamw", ema=0.0, precision="float32")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("images") / "three", each=8)


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Any) -> None:
    """Call `act(trainer)` after a step."""
    usual = Trainer.step

    def stepped(self: Trainer, batches: Any) -> None:
        usual(self, batches)
        if self.counters.step == step:
            act(self)

    monkeypatch.setattr(Trainer, "step", stepped)


def test_no_state_with_nan_is_saved(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(trainer: Trainer) -> None:
        with torch.no_grad():
            next(trainer.model.parameters())[0, 0, 0, 0] = torch.inf

    at_step(monkeypatch, 2, spoil)
    words = (
        r"is not finite after step 2\. Use a third of the learning rate \(--set lr=\S+\).*checkpoints/last; --resume"
    )
    with pytest.raises(Diverged, match=words):
        train(source, QUICK, out=tmp_path / "run")
    for name in ("last", "best"):
        state = load_file(tmp_path / "run" / "checkpoints" / name / "model.safetensors")
        assert all(tensor.isfinite().all() for tensor in state.values())
    counters = json.loads((tmp_path / "run" / "checkpoints" / "last" / "trainer.json").read_text())["counters"]
    assert counters["step"] == 1


def test_a_state_with_nan_of_an_earlier_version_is_not_resumed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(trainer: Trainer) -> None:
        trainer.optimizers[0].state[next(trainer.model.parameters())]["exp_avg"][0, 0, 0, 0] = torch.nan

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "require_finite", lambda self: None)
        at_step(patch, 2, spoil)
        with pytest.raises(Diverged, match="the loss is nan at step 4"):
            train(source, replace(QUICK, steps=6, evaluate_every=10), out=tmp_path / "run")
    with pytest.raises(Diverged, match=r"is not finite after step 3\. Use a third"):
        vitrail.resume(tmp_path / "run")


def test_a_model_with_nan_predicts_nothing() -> None:
    model = vitrail.create_model("vit_tiny_patch16_224", image_size=32, depth=1, num_classes=2)
    predictor = make_predictor(Checkpoint(model, ("a", "b"), Preprocess(image_size=(32, 32))), device="cpu")
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    assert len(predictor([image])) == 1
    with torch.no_grad():
        model.head.classify.weight[0, 0] = torch.nan
    with pytest.raises(VitrailError, match="outputs are not finite: its weights are damaged"):
        predictor([image])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_vanishes_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    source = make_pictures(tmp_path / "three", each=8)
    monkeypatch.setattr("vitrail.training.setup.memory_for_images", lambda: 0)  # every epoch reads the files again
    at_step(monkeypatch, 1, lambda trainer: shutil.rmtree(source / "class 1"))
    words = r"class 1\S*: No such file .*restore it and go on .*vitrail train --resume .*run`$"
    with pytest.raises(VitrailError, match=words):
        train(source, replace(QUICK, steps=40, workers=workers), out=tmp_path / "run")


def test_a_removed_run_is_not_created_again(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_step(monkeypatch, 2, lambda trainer: shutil.rmtree(tmp_path / "run"))
    with pytest.raises(VitrailError, match="run was removed while the run was going"):
        train(source, QUICK, out=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_the_next_commands_read_the_source_as_the_run_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_pictures(tmp_path / "three", each=8)
    (source / "class 0" / "bad.png").write_bytes(b"no image")
    run = train(source, replace(QUICK, epochs=1, strict=False), out=tmp_path / "run", skip_bad=True)
    command = f"vitrail eval {shlex.quote(str(run.path))} {shlex.quote(str(source))} --skip-bad --no-strict"
    assert command in next_steps(run.path, run.metrics)
    report = (run.path / "report.html").read_text()
    assert "vitrail eval . three --skip-bad --no-strict" in report
    assert "1 file could not be used" in report
    (bad,) = json.loads((run.path / "evaluation.json").read_text())["bad"]
    assert bad["name"] == "class 0/bad.png"
    with pytest.raises(SystemExit) as end:
        main(shlex.split(command)[1:])
    assert not end.value.code, capsys.readouterr().err


def test_all_bad_files_are_listed(tmp_path: Path) -> None:
    source = make_pictures(tmp_path / "three", each=8)
    bad = [source / "class 0" / f"bad {number}.png" for number in range(12)]
    for file in bad:
        file.write_bytes(b"no image")
    with pytest.raises(VitrailError, match=r"(?s)12 bad files in .*run\.bad_files\.csv"):
        train(source, QUICK, out=tmp_path / "runs" / "run")
    listed = (tmp_path / "runs" / "run.bad_files.csv").read_text().splitlines()
    assert len(listed) == 1 + len(bad)
    assert all(any(file.name in line for line in listed) for file in bad)
    for file in bad[:4]:
        file.unlink()
    with pytest.raises(BadFiles, match="8 bad files") as raised:
        train(source, QUICK, out=tmp_path / "other" / "run")
    assert "are listed in" not in str(raised.value)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried"),
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("DataLoader worker (pid 3) is killed by signal: Killed. "),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_a_lack_of_memory_says_what_to_change(error: Exception) -> None:
    words = "memory ran out: use --set batch_size=8 --set accumulate=2, which learns the same, or --set checkpoint"
    with pytest.raises(VitrailError, match=words), memory_advice(SMALL):
        raise error


def test_a_run_without_memory_says_what_to_change(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(trainer: Trainer) -> None:
        raise MemoryError

    at_step(monkeypatch, 1, fail)
    with pytest.raises(VitrailError, match="memory ran out"):
        train(source, QUICK, out=tmp_path / "run")


def test_other_errors_are_no_lack_of_memory() -> None:
    assert not any(map(is_out_of_memory, (RuntimeError("shape mismatch"), OSError(28, "full"), ValueError("memory"))))


def test_a_run_that_cannot_be_created_leaves_nothing(tmp_path: Path) -> None:
    def fail(place: Path) -> None:
        place.mkdir()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        RunFolder(tmp_path / "run").create({"recipe.yaml": "a: 1\n"}, fail)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "run")
    made.create({name: f"{name} of a run\n" for name in GUARDED}, lambda place: place.mkdir())
    return made


def test_every_flip_in_the_plan_of_a_run_is_found(run: RunFolder) -> None:
    run.require_unchanged()
    rng = random.Random(0)
    for name in (*GUARDED, DIGESTS):
        file = run.path / name
        whole = file.read_bytes()
        for at in rng.sample(range(len(whole)), 15):
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(7)]) + whole[at + 1 :])
            if file.name != DIGESTS or json_differs(whole, file.read_bytes()):
                with pytest.raises(VitrailError, match=r"restore it, or start a new run"):
                    run.require_unchanged()
        file.write_bytes(whole)
    (run.path / "splits.csv").unlink()
    with pytest.raises(VitrailError, match=r"splits\.csv is missing"):
        run.require_unchanged()


def json_differs(before: bytes, after: bytes) -> bool:
    """Whether a change of white space is more than that."""
    try:
        return bool(json.loads(before) != json.loads(after))
    except ValueError:
        return True


def test_a_plan_may_be_rewritten_and_the_process_may_end_in_between(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.write(DATA, "new place\n")
    run.require_unchanged()
    usual = run_folder.write_file

    def fails_for_the_file(path: Path, content: bytes) -> None:
        if path.name == DATA:
            raise OSError
        usual(path, content)

    for _ in range(3):
        with monkeypatch.context() as patch, pytest.raises(OSError):  # noqa: PT012
            patch.setattr(run_folder, "write_file", fails_for_the_file)
            run.write(DATA, "newer place\n")
        run.require_unchanged()
    run.write(DATA, "newest place\n")
    run.require_unchanged()
    (run.path / DATA).write_text("new place\n" * 2)
    with pytest.raises(VitrailError, match="was changed after the run began"):
        run.require_unchanged()


def test_runs_of_earlier_versions_have_no_digests(run: RunFolder) -> None:
    (run.path / DIGESTS).unlink()
    run.require_unchanged()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_the_first_step_leaves_nothing(
    number: signal.Signals, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = signal.getsignal(number)
    monkeypatch.setattr("vitrail.training.run.fix_steps", lambda *details: os.kill(os.getpid(), number))
    with pytest.raises(KeyboardInterrupt, match=f"stopped by {number.name}"), terminable():
        train(source, QUICK, out=tmp_path / "runs" / "x")
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(number) == former


def test_a_hangup_that_nohup_ignores_is_ignored() -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminable():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, former)


def test_workers_die_of_sigterm_in_silence(source: Path) -> None:
    from vitrail.data.loader import _settle_worker

    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    threads = torch.get_num_threads()
    try:
        signal.signal(signal.SIGTERM, lambda *details: None)
        _settle_worker(1, nullcontext(), 0)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        torch.set_num_threads(threads)
        for number, handler in former.items():
            signal.signal(number, handler)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": float("nan")}, "recipe.epochs is nan: it needs to be more than 0"),
        ({"minutes": float("inf")}, "recipe.minutes is inf"),
        ({"workers": 100_000}, "from 0 to 1,024"),
        ({"image_size": 100_000}, "a side of 1 to 32,768 pixels"),
        ({"image_size": (32, 0)}, "a side of 1 to 32,768 pixels"),
        ({"seed": 10**30}, "needs to fit into 64 bits"),
        ({"seed": 10**400}, "a number of more than 60 digits"),
        ({"betas": (0.9, 1.0)}, "recipe.betas"),
        ({"batch_size": 2.5}, "recipe.batch_size is 2.5: it is a whole number"),
        ({"lr": "fast"}, "recipe.lr is 'fast'"),
        ({"clip": -1.0}, "recipe.clip is -1.0: it needs to be at least 0"),
        ({"val": float("nan")}, "recipe.val is nan"),
    ],
)
def test_wrong_values_of_a_recipe_are_sentences(change: dict[str, Any], words: str) -> None:
    with pytest.raises(VitrailError, match=words):
        Recipe(**change)


def test_the_order_of_a_loader_is_unchanged_by_how_errors_travel() -> None:
    read = lambda index: torch.full((3, 2, 2), index, dtype=torch.uint8)  # noqa: E731
    views = lambda image, target: (image, target)  # noqa: E731
    loader = TrainLoader(read, 5, torch.tensor, views, Preprocess(image_size=(2, 2)), batch_size=2, seed=0)
    batches = [next(loader.batches(number)) for number in range(3)]
    assert [batch.indices for batch in batches] == [*loader.order(0), loader.order(1)[0]]
    assert all(batch.targets.tolist() == batch.indices for batch in batches)
