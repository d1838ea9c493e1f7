"""The command line as a person or a program uses it: results, sentences, exit status; never a traceback."""

import csv
import errno
import gc
import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

from vitrail.cli.main import COMMANDS, main
from vitrail.cli.signals import signals_held


def call(capsys, *arguments):
    """(exit status, standard output, standard error) of a command."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return end.value.code or 0, printed.out, printed.err


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "rot & blau é"
    random = np.random.default_rng(0)
    for label, colour in (("rot", 0), ("blau", 2)):
        (root / label).mkdir(parents=True)
        for index in range(20):
            noise = random.integers(0, 100, (20, 18, 3)) + np.eye(3)[colour] * 150
            Image.fromarray(noise.astype(np.uint8)).save(root / label / f"bild {index}.png")
    return root


@pytest.fixture(scope="module")
def run(images, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    small = ["--set", "overrides.depth=1", "batch_size=8"]
    with pytest.raises(SystemExit) as end:
        main(["train", str(images), "--model", "compact_tiny_16", "--epochs", "6", "--out", str(out), *small])
    assert not end.value.code
    return out


def test_help_answers_at_once():
    def modules(*words: str) -> set[str]:
        started = subprocess.run(
            [sys.executable, "-X", "importtime", *words], capture_output=True, text=True, check=True
        )
        answers.append(started.stdout)
        return {line.rpartition("|")[2].strip() for line in started.stderr.splitlines() if "import time:" in line}

    answers: list[str] = []
    loaded = modules("-m", "vitrail", "--help") - modules("-c", "pass")
    assert all(command.name in answers[0] for command in COMMANDS)
    assert len(loaded) < 100, f"each module costs time: {sorted(loaded)}"
    assert loaded.isdisjoint({"importlib.metadata", "torch", "numpy", "rich", "yaml", "argparse", "dataclasses"})


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["--version"]])
def test_a_reader_that_has_gone_is_no_traceback(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "vitrail", *arguments], stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_before_a_command_runs_is_a_word(capsys, monkeypatch):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr("vitrail.cli.main._find", interrupted)
    assert call(capsys, "plan", "vit_tiny_patch16_224") == (130, "", "vitrail: stopped\n")


def test_every_command_keeps_freed_memory(capsys, monkeypatch):
    calls = []
    monkeypatch.setattr("vitrail.cli.main.keep_freed_memory", lambda: calls.append("kept"))
    monkeypatch.setattr("vitrail.cli.plan.Plan.run", lambda command: calls.append("ran"))
    assert call(capsys, "plan", "vit_tiny_patch16_224") == (0, "", "")
    assert calls == ["kept", "ran"]


def test_unknown_commands_and_options_name_the_nearest(capsys):
    assert call(capsys, "trian") == (2, "", "vitrail: there is no command 'trian': did you mean train?\n")
    assert call(capsys, "study", "layer")[2] == (
        "vitrail: there is no command 'study layer': did you mean study layers?\n"
    )
    assert call(capsys, "train", "x", "--epoch", "3") == (
        2,
        "",
        "vitrail: there is no option --epoch: did you mean --epochs? (see vitrail train --help)\n",
    )


def test_eval_prints_json_and_nothing_else(capsys, run, images):
    status, out, err = call(capsys, "eval", run, images, "--json")
    assert status == 0
    found = json.loads(out)
    assert found["top1"] > 0.9
    assert "scored" in err


def test_predict_prints_a_table_and_bad_files_are_rows(capsys, run, images, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    good = images / "rot" / "bild 1.png"
    status, out, _ = call(capsys, "predict", run, good, tmp_path / "broken.jpg", "--format", "jsonl")
    assert status == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["path"] for row in rows] == [str(good), str(tmp_path / "broken.jpg")]
    assert rows[1]["error"]
    status, out, _ = call(capsys, "predict", run, images, "--top-k", "1")
    assert len(list(csv.DictReader(out.splitlines()))) == 40


def test_explain_writes_images_and_a_page(capsys, run, images, tmp_path):
    status, out, _ = call(capsys, "explain", run, images, "--limit", "2", "--out", tmp_path / "seen")
    assert status == 0
    written = [Path(line) for line in out.splitlines()]
    assert [path.suffix for path in written] == [".png", ".png", ".html"]
    assert all(path.stat().st_size > 1000 for path in written)


def test_explain_writes_the_explorer_as_one_page(capsys, run, images, tmp_path):
    image, page = images / "rot" / "bild 1.png", tmp_path / "new" / "seen.html"
    status, out, err = call(capsys, "explain", run, image, "-o", page, "--against", run, "--methods", "rollout")
    assert (status, out) == (0, f"{page}\n")
    assert "MB" in err
    text = page.read_text(encoding="utf-8")
    assert '"live":false' in text
    assert "bild 1.png" in text
    assert call(capsys, "explain", run, image, "-o", page, "--methods", "rolout")[2] == (
        "vitrail: there is no attribution method 'rolout': did you mean rollout?\n"
    )


@pytest.mark.exhaustive  # two processes that import everything
def test_explore_serves_until_it_is_stopped(run, images):
    command = [sys.executable, "-m", "vitrail", "explore", run, images / "rot" / "bild 1.png", "--no-open"]
    # A shell that runs the tests in the background lets them ignore Ctrl-C, and their children, too.
    heard = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "preexec_fn": heard}
    with subprocess.Popen(command, **pipes) as process, ExitStack() as end:
        end.callback(process.kill)
        url = process.stdout.readline().strip()
        with urlopen(f"{url}api/view/0") as answer:
            assert json.load(answer)["layers"]
        port = url.rstrip("/").rpartition(":")[2]
        busy = subprocess.run([*command, "--port", port], capture_output=True, text=True)
        assert busy.returncode == 1
        assert f"port {port} cannot be used" in busy.stderr
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in err


@pytest.mark.exhaustive
def test_models_and_plan_speak_json(capsys):
    status, out, _ = call(capsys, "models", "vit_tiny_patch16*", "--json")
    assert status == 0
    assert json.loads(out)[0]["parameters"] == 5_717_416
    status, out, _ = call(capsys, "plan", "ViT-Ti/16", "--batch-size", "2", "--json")
    assert status == 0
    assert json.loads(out)["parameters"] == 5_717_416


def broken_sources(folder):
    """(source, words of the sentence): what a user may hand over by mistake."""
    (folder / "empty").mkdir()
    (folder / "one class" / "cats").mkdir(parents=True)
    (folder / "one image" / "cats").mkdir(parents=True)
    (folder / "flat").mkdir()
    image = Image.new("RGB", (20, 20))
    for index in range(3):
        image.save(folder / "one class" / "cats" / f"{index}.png")
        image.save(folder / "flat" / f"{index}.png")
    image.save(folder / "one image" / "cats" / "0.png")
    (folder / "labels.csv").write_text("path,label\nnowhere/1.jpg,cat\nnowhere/2.jpg,dog\n")
    return [
        (folder / "empty", "no image|empty"),
        (folder / "one class", "one class"),
        (folder / "one image", "image"),
        (folder / "flat", "class"),
        (folder / "labels.csv", "nowhere/1.jpg"),
        (folder / "missing", "no |not exist"),
    ]


def test_every_bad_source_is_a_sentence(capsys, tmp_path):
    import re

    for source, words in broken_sources(tmp_path):
        status, out, err = call(capsys, "train", source, "--out", tmp_path / "run")
        assert (status, out) == (1, ""), source
        assert re.search(words, err), err
        assert "Traceback" not in err
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train"], "give a source"),
        (["train", "digits", "--model", "vit_bace"], "did you mean"),
        (["train", "digits", "--set", "lerning=1"], "no field"),
        (["train", "--resume", "nowhere"], "not a run"),
        (["train", "--resume", "r", "--epochs", "9", "--no-strict"], "own options: leave --epochs, --no-strict out"),
        (["eval", "nowhere", "digits"], "nowhere"),
        (["predict", "nowhere", "x.png"], "there is no file or folder nowhere"),
        (["plan", "vit_bace"], "did you mean"),
    ],
)
def test_wrong_arguments_are_sentences(capsys, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = call(capsys, *arguments)
    assert status == 1
    assert words in err
    assert "Traceback" not in err


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_predict_takes_the_part_that_the_run_recorded(capsys, run, images, split):
    with open(run / "splits.csv", newline="", encoding="utf-8") as file:
        wanted = sorted(row["name"] for row in csv.DictReader(file) if row["split"] == split)
    status, out, _ = call(capsys, "predict", run, images, "--split", split, "--top-k", "1")
    assert status == 0
    found = sorted(str(Path(row["path"]).relative_to(images)) for row in csv.DictReader(out.splitlines()))
    assert found == wanted


def test_messages_do_not_steer_the_terminal(capsys):
    with pytest.raises(SystemExit):
        main(["train", "no\x1b[2J\x9b\u202e\nimages"])
    said = capsys.readouterr().err
    assert "reading no\\x1b[2J\\x9b\\u202e\nimages" in said
    assert "vitrail: no\\x1b[2J\\x9b\\u202e\nimages matches no tar shard" in said


def test_a_full_disk_is_a_sentence(capsys, monkeypatch):
    def full(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "runs/a/model.safetensors")

    monkeypatch.setattr("vitrail.cli.models.Models.run", full)
    with pytest.raises(SystemExit) as stop:
        main(["models"])
    assert stop.value.code == 1
    assert (
        "the disk is full: runs/a/model.safetensors. What was complete before is unchanged" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("words", "given", "expected"),
    [
        (["--version"], {}, {"GOMP_SPINCOUNT": "3000", "KMP_BLOCKTIME": "1"}),
        (["--version"], {"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7", "KMP_BLOCKTIME": "1"}),
        (["--version"], {"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
        (["bench"], {}, {}),
    ],
)
def test_threads_wait_briefly_unless_the_user_or_a_benchmark_says_otherwise(
    words: list[str], given: dict[str, str], expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    environment = dict(given)
    monkeypatch.setattr("vitrail.cli.main.os.environ", environment)
    with pytest.raises(SystemExit):
        main(words)
    assert {name: value for name, value in environment.items() if name in {*expected, "OMP_WAIT_POLICY"}} == expected
    assert (environment.keys() >= {"GOMP_SPINCOUNT"}) == ("GOMP_SPINCOUNT" in expected)


def test_the_collector_of_a_program_that_has_pytorch_stays_as_it_is(capsys):
    frozen = gc.get_freeze_count()
    gc.disable()
    try:
        assert call(capsys, "recipes")[0] == 0
        assert not gc.isenabled()
    finally:
        gc.enable()
    assert gc.get_freeze_count() == frozen


def test_signals_wait_for_the_end_of_an_import():
    reached = stopped = False
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with signals_held():
            signal.raise_signal(signal.SIGINT)
            reached = True
    except KeyboardInterrupt:
        stopped = True
    finally:
        signal.signal(signal.SIGINT, former)
    assert (reached, stopped) == (True, True)
