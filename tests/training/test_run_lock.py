"""Two processes and one run folder: the second ends with the first's pid, and nothing is overwritten."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from killable_runs import SMALL, make_pictures

from vitrail.errors import VitrailError
from vitrail.training.folder import FolderTaken, RunFolder
from vitrail.training.new_folder import create_folder
from vitrail.training.run import resume, train
from vitrail.training.run_lock import LOCK, RunLock

HOLD = """
import os, sys
from dataclasses import replace
from pathlib import Path
from vitrail.training.run_lock import RunLock
RunLock(Path(sys.argv[1])).acquire()
worker = os.fork() if len(sys.argv) > 2 else 1
print(os.getpid() if worker else "", flush=True)
sys.stdin.read()
"""

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals")


def hold(folder: Path, *more: str) -> "subprocess.Popen[str]":
    """A process that has the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


@posix
def test_another_process_has_the_lock_until_it_ends(tmp_path: Path):
    process = hold(tmp_path)
    lock = RunLock(tmp_path)
    with pytest.raises(VitrailError, match=rf"is in use by process {process.pid} on .*: wait until it ends"):
        lock.acquire()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with lock:
        assert (tmp_path / LOCK).read_text().startswith(f"process {os.getpid()} on")
    assert not (tmp_path / LOCK).exists()


@posix
def test_workers_of_a_killed_process_do_not_hold_the_lock(tmp_path: Path):
    process = hold(tmp_path, "with a worker")
    process.send_signal(signal.SIGKILL)
    process.wait()
    with RunLock(tmp_path):
        pass
    process.communicate()  # ends the worker, which reads from the same pipe


def test_one_process_does_not_take_the_lock_twice(tmp_path: Path):
    first, second = RunLock(tmp_path), RunLock(tmp_path)
    with first:
        first.acquire()
        with pytest.raises(VitrailError, match=f"in use by process {os.getpid()}"):
            second.acquire()
        with pytest.raises(VitrailError, match="in use"):
            second.acquire()
    with second:
        pass


def test_a_file_system_without_locks_is_used_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def unable(file: int) -> bool:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("vitrail.training.run_lock._lock", unable)
    with RunLock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_of_two_runs_that_create_a_folder_one_is_refused(tmp_path: Path):
    one, two = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    with pytest.raises(FolderTaken, match="exists already"):
        one.create({"a": "1"}, lambda place: two.create({"a": "2"}, lambda place: None))
    assert (tmp_path / "run/a").read_text() == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    with pytest.raises(VitrailError, match="in use"):
        RunLock(tmp_path / "run").acquire()
    two.lock.release()


def test_a_name_that_was_chosen_for_the_user_may_change(tmp_path: Path):
    taken = RunFolder(tmp_path / "birds-1")
    other = RunFolder(tmp_path / "birds-1")
    other.create({}, lambda place: None)
    other.lock.release()
    made = create_folder(taken, {"a": "1"}, lambda place: None, given=False)
    made.lock.release()
    assert made.path == tmp_path / "birds-2"
    with pytest.raises(FolderTaken):
        create_folder(taken, {}, lambda place: None, given=True)


def test_what_a_killed_creation_left_is_removed_and_what_another_is_writing_is_not(tmp_path: Path):
    for name in ("run.aaaaaaaa.new", "run.bbbbbbbb.new", "other.cccccccc.new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / LOCK).write_text("process 1 on a machine")
    busy = RunLock(tmp_path / "run.bbbbbbbb.new")
    with busy:
        folder = RunFolder(tmp_path / "run")
        folder.create({}, lambda place: None)
        folder.lock.release()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.cccccccc.new", "run", "run.bbbbbbbb.new"]


@posix
def test_a_run_that_is_being_written_is_not_resumed(tmp_path: Path):
    source = make_pictures(tmp_path / "pictures", classes=2, each=8)
    made = train(source, replace(SMALL, epochs=1, save_minutes=5.0), out=tmp_path / "run")
    assert not (made.path / LOCK).exists()
    process = hold(made.path)
    before = {path: path.stat().st_mtime_ns for path in made.path.rglob("*")}
    with pytest.raises(VitrailError, match=f"in use by process {process.pid}"):
        resume(made.path)
    assert {path: path.stat().st_mtime_ns for path in made.path.rglob("*")} == before
    process.communicate()
    resume(made.path)
