"""The grid search: what it runs, what it names as the best, and that it goes on where it was stopped."""

import csv
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from vitrail.cli.main import main
from vitrail.cli.parser import parse
from vitrail.cli.sweep import Sweep as SweepCommand
from vitrail.cli.train import Train
from vitrail.data.augment_options import Augment
from vitrail.data.bad_files import BadFiles
from vitrail.errors import VitrailError
from vitrail.pages.files import results_page, write_results
from vitrail.study.sweep import Sweep, best_command, grid_values, sweep
from vitrail.study.sweep_page import files, sweep_notes, sweep_table
from vitrail.study.trial_runs import Outcome, Trial, finished
from vitrail.training.recipe import Recipe
from vitrail.training.stop import Stopped

from ..evaluation.small_checkpoint import write_classes

TINY = Recipe(
    model="compact_tiny_8",
    overrides={"stem": [[8]], "embed_dim": 8, "num_heads": 1, "depth": 1},
    epochs=2,
    batch_size=8,
    evaluate_every=1,
    optimizer="adamw",
    precision="float32",
    augment=Augment(crop="none"),
    save_minutes=1e-6,
)


def stop_at(run: int, step: int):
    """A pair (say, progress) that interrupts the steps of a run."""
    now = {"run": 0}

    def say(text: str) -> None:
        now["run"] += text.startswith("run ")

    def progress(items, total, label):
        for number, item in enumerate(items):
            if now["run"] == run and label.startswith("train") and number == step:
                raise KeyboardInterrupt
            yield item

    return say, progress


def test_a_sweep_that_is_stopped_in_a_run_goes_on(shades, tmp_path):
    over = ["lr=1e-3,1e-2", "overrides.embed_dim=8"]
    whole = sweep(shades, ["lr=1e-2", "overrides.embed_dim=8"], tmp_path / "whole", TINY).best
    labels: list[str] = []

    def listen(items, total, label):
        labels.append(label)
        return items

    say, progress = stop_at(2, 2)
    with pytest.raises(KeyboardInterrupt):
        sweep(shades, over, tmp_path / "stopped", TINY, say=say, progress=progress)
    runs = sorted((tmp_path / "stopped/runs").iterdir())
    assert [finished(run) for run in runs] == [True, False]
    spoken: list[str] = []
    again = sweep(shades, over, tmp_path / "stopped", TINY, say=spoken.append, progress=listen)
    assert any("resuming from step" in line for line in spoken)
    assert [outcome.trial.recipe.lr for outcome in again.outcomes] == [1e-3, 1e-2]
    assert again.outcomes[1].quality == whole.quality
    assert again.outcomes[1].metrics["loss"] == whole.metrics["loss"]
    with pytest.raises(VitrailError, match="other settings"):
        sweep(shades, ["lr=1e-3,3e-3"], tmp_path / "stopped", TINY)


def test_results_are_ranked_by_validation_and_failures_are_rows(shades, tmp_path):
    found = sweep(shades, ["overrides.num_heads=3,1"], tmp_path / "out", replace(TINY, epochs=1))
    assert found.outcomes[0].error  # 3 heads do not divide a width of 8
    assert found.best is found.outcomes[1]
    headers, rows = sweep_table(found)
    assert headers == ["run", "overrides.num_heads", "validation quality", "seconds", "problem"]
    assert [row[1] for row in rows] == ["1", "3"]
    command = best_command(found, ["--epochs", "1"])
    assert command == f"vitrail train {shades} --epochs 1 --set overrides.num_heads=1"
    write_results(tmp_path / "out", files(found, command))
    with (tmp_path / "out/sweep.csv").open() as file:
        assert [row["overrides.num_heads"] for row in csv.DictReader(file)] == ["1", "3"]
    assert "vitrail train shades0 --epochs 1 --set overrides.num_heads=1" in results_page(files(found, command))


def test_the_notes_name_the_lead_of_the_best_run_or_a_tie(tmp_path):
    trials = [Trial(name, TINY, "shades") for name in ("a", "b")]

    def note(*qualities: float) -> str:
        outcomes = [
            Outcome(trial, tmp_path / trial.name, quality=each) for trial, each in zip(trials, qualities, strict=True)
        ]
        return sweep_notes(Sweep("shades", ("lr",), (("1",), ("2",)), tuple(outcomes)))[1]

    assert note(0.75, 0.875).startswith("It is 0.1250 better than the second, one seed each")
    assert note(0.75, 0.75).startswith("It and the second do not differ, one seed each")
    assert note(0.75, 0.75001).startswith("It and the second do not differ")


def test_no_run_begins_after_the_time(shades, tmp_path):
    found = sweep(shades, ["lr=1e-3,1e-2"], tmp_path / "out", TINY, minutes=1e-6, epochs=1)
    assert found.outcomes[0].quality is not None
    assert "time was used up" in found.outcomes[1].error
    shared = sweep(shades, ["overrides.num_heads=3,5"], tmp_path / "shared", replace(TINY, epochs=None), minutes=3)
    assert [outcome.trial.recipe.minutes for outcome in shared.outcomes] == [1.5, 1.5]
    with pytest.raises(VitrailError, match="no run of the sweep has a result"):
        _ = shared.best


def test_settings_are_read_as_the_recipe_reads_them(shades, tmp_path):
    assert grid_values("lr=1e-3, 3e-3,1e-3") == ("lr", ("1e-3", "3e-3"))
    assert grid_values("image_size=[32,48],64") == ("image_size", ("[32,48]", "64"))
    with pytest.raises(VitrailError, match="has no values"):
        grid_values("lr")
    with pytest.raises(VitrailError, match="has no field learning_rate"):
        sweep(shades, ["learning_rate=1,2"], tmp_path / "out")
    with pytest.raises(VitrailError, match="twice"):
        sweep(shades, ["lr=1e-3", "lr=1e-2"], tmp_path / "out")
    assert not Path(tmp_path / "out").exists()


def test_a_source_that_cannot_be_used_is_one_error_before_the_first_run(tmp_path):
    over, said = ["lr=1e-3,1e-2", "val=0.1,0.2"], []
    with pytest.raises(VitrailError, match="nowhere does not exist"):
        sweep(str(tmp_path / "nowhere"), over, tmp_path / "out", TINY, say=said.append)
    one = write_classes(tmp_path / "one", ("cat",), each=3)
    (one / "cat" / "bad.png").write_bytes(b"no image")
    with pytest.raises(BadFiles, match="1 bad file in"):
        sweep(str(one), over, tmp_path / "out", TINY, say=said.append)
    with pytest.raises(VitrailError, match="only one class"):
        sweep(str(one), over, tmp_path / "out", TINY, skip_bad=True, say=said.append)
    assert not said
    assert not (tmp_path / "out").exists()


def test_a_source_is_tried_with_each_way_of_reading_it(shades, tmp_path, monkeypatch):
    monkeypatch.setattr("vitrail.study.sweep.run_trials", lambda trials, folder, **others: [])
    with pytest.raises(VitrailError, match="regression"):
        sweep(shades, ["lr=1e-3,1e-2"], tmp_path / "out", replace(TINY, task="regression"))
    sweep(shades, ["task=regression,classification"], tmp_path / "out", TINY)


@pytest.mark.parametrize(
    ("over", "changes", "words"),
    [
        ("lr=1e-3,1e-2", {"solver": "lbfgs"}, "--over lr changes nothing: solver lbfgs .* vary weights, image_size"),
        ("augment.flip=0,0.5", {"solver": "lbfgs"}, "--over augment.flip changes nothing"),
        ("muon_lr=1e-3,1e-2", {}, "--over muon_lr changes nothing: .* the optimizer is adamw; vary lr"),
        ("epochs=1,2", {"steps": 5}, "--over epochs changes nothing: steps is 5"),
        ("lr=1e-3,0.001", {}, "the same recipe twice, as 001-lr=1e-3 and 002-lr=0.001"),
    ],
)
def test_a_sweep_over_what_changes_nothing_is_an_error(over, changes, words, shades, tmp_path):
    recipe = replace(TINY, epochs=None, **changes)
    with pytest.raises(VitrailError, match=words):
        sweep(shades, [over], tmp_path / "out", recipe)
    assert not (tmp_path / "out").exists()


def test_a_field_that_counts_for_some_of_the_runs_may_vary(shades, tmp_path, monkeypatch):
    monkeypatch.setattr("vitrail.study.sweep.run_trials", lambda trials, folder, **others: trials)
    found = sweep(shades, ["optimizer=adamw,muon", "muon_lr=1e-3,1e-2"], tmp_path / "out", TINY)
    assert len(found.outcomes) == 4


def test_the_command_of_the_best_run_has_the_options_that_were_given(shades, tmp_path, monkeypatch, capsys):
    def run_trials(trials, folder, **others):
        assert {trial.recipe.batch_size for trial in trials} == {8}
        return [Outcome(trial, folder / trial.name, quality=number) for number, trial in enumerate(trials)]

    monkeypatch.setattr("vitrail.study.sweep.run_trials", run_trials)
    options = "--model compact_tiny_8 --epochs 1.5 --batch-size 8 --image-size 16 --precision float32 --no-strict"
    words = f"sweep {shades} --over lr=1e-3,1e-2 {options} --set ema=0.9 -o {tmp_path / 'out'}"
    with pytest.raises(SystemExit) as end:
        main(shlex.split(words))
    assert not end.value.code
    *_, command = capsys.readouterr().out.strip().splitlines()
    best = parse(Train, shlex.split(command)[2:])
    asked = parse(SweepCommand, shlex.split(words)[1:])
    assert best.with_options(Recipe()) == replace(asked.with_options(Recipe()), epochs=1.5, lr=1e-2)
    assert best.data == shades


def test_a_folder_of_other_files_is_left_alone(shades, tmp_path):
    before = sorted(Path(shades).rglob("*"))
    with pytest.raises(VitrailError, match="has other files, such as dark: use a new folder"):
        sweep(shades, ["lr=1e-3,1e-2"], Path(shades), TINY)
    assert sorted(Path(shades).rglob("*")) == before
    (tmp_path / "file").write_text("")
    with pytest.raises(VitrailError, match="is a file"):
        sweep(shades, ["lr=1e-3,1e-2"], tmp_path / "file/deeper", TINY)


def test_a_stop_names_the_command_that_continues(shades, tmp_path, monkeypatch):
    def train(source, recipe, **others):
        raise Stopped("stopped by SIGINT; to continue: vitrail train --resume RUN")

    monkeypatch.setattr("vitrail.study.trial_runs.train", train)
    with pytest.raises(Stopped, match="run 1 of 2, 001-lr=1e-3; its state is saved; to continue, repeat the command"):
        sweep(shades, ["lr=1e-3,1e-2"], tmp_path / "out", TINY)


def test_the_page_names_no_folder_of_this_machine(tmp_path):
    source = str(tmp_path / "my images")
    outcome = Outcome(Trial("001", TINY, source), tmp_path / "001", quality=-0.5)
    found = Sweep(source, ("lr",), (("1e-3",),), (outcome,))
    command = best_command(found, ["--epochs", "1"], ["seed=1"])
    assert command == f"vitrail train '{source}' --epochs 1 --set seed=1 lr=1e-3"
    written = results_page(files(found, command))
    assert str(tmp_path) not in written
    assert "vitrail train &#x27;my images&#x27; --epochs 1 --set seed=1 lr=1e-3" in written


def test_an_error_of_several_lines_is_one_line_of_the_table(tmp_path):
    outcome = Outcome(Trial("001", TINY, "a"), tmp_path, error="2 bad files in a:\n  x.png: truncated")
    _, rows = sweep_table(Sweep("a", ("lr",), (("1",),), (outcome,)))
    assert rows[0][-1] == "2 bad files in a…"
