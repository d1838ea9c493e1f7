"""The run folder: the files that a training run writes."""

import csv
import glob
import hashlib
import json
import os
import platform
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoint.atomic import write_file
from ..errors import VitrailError
from ..plain import Unreadable, parse_json, read_json
from ..tables import csv_text
from ..typed import build, convert
from ..version import __version__
from .run_lock import LOCK, RunLock
from .step_plan import StepPlan

METRICS, TABLE, RECIPE, SPLITS, DATA, PLAN, TIME, EVALUATION = (
    "metrics.jsonl",
    "metrics.csv",
    "recipe.yaml",
    "splits.csv",
    "data.json",
    "plan.json",
    "time.json",
    "evaluation.json",
)

GUARDED = (RECIPE, SPLITS, DATA, PLAN)
"""Files that a resumed run reads, besides its state."""
DIGESTS = "digests.json"
"""sha256 of the guarded files, and of the version before."""


@dataclass(frozen=True, slots=True)
class _Time:
    seconds: float


class FolderTaken(VitrailError):  # noqa: N818 - the state of a folder
    """The folder of a new run exists already."""


class RunFolder:
    """Paths and small files of one run; `checkpoint` saves weights and state.

    Attributes:
        path: the folder.
        checkpoints: the folder of weights and states in it.
        lock: keeps other processes from writing to the run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.lock = RunLock(path)

    def create(self, files: Mapping[str, str], save_state: Callable[[Path], None]) -> None:
        """Create the folder with these text files and the state before the first step, atomically.

        A killed process leaves no incomplete run, and a run can be resumed from its folder and its data alone. The run
        is locked from its first moment, see `lock`.

        Args:
            files: name -> text.
            save_state: saves the state to a folder.

        Raises:
            FolderTaken: the folder exists and is not empty, so that no run overwrites another.
        """
        self.require_free()
        self._remove_leftovers()
        stage = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}.new")
        (stage / self.checkpoints.name).mkdir(parents=True)
        lock = RunLock(stage)
        try:
            lock.acquire()
            for name, text in files.items():
                RunFolder(stage).write(name, text)
            save_state(stage / self.checkpoints.name / "last")
            self._take_name(stage)
        except BaseException:  # also an interrupt
            shutil.rmtree(stage, ignore_errors=True)
            lock.release()
            raise
        lock.folder, self.lock = self.path, lock

    def _take_name(self, stage: Path) -> None:
        try:
            os.replace(stage, self.path)
        except OSError:
            self.require_free()  # another run has created it in the meantime
            raise

    def _remove_leftovers(self) -> None:
        """Remove the stages of runs that were killed while they were created."""
        for stage in self.path.parent.glob(f"{glob.escape(self.path.name)}.*.new"):
            if (stage / LOCK).is_file():
                with suppress(VitrailError, OSError), RunLock(stage):
                    shutil.rmtree(stage)

    def require_free(self) -> None:
        """Raise FolderTaken if the folder exists and is not empty."""
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise FolderTaken(
                f"{self.path} exists already: choose another --out, or run `vitrail train --resume {self.path}`"
            )

    def require_there(self) -> None:
        """Raise VitrailError if the folder was removed; saving would create a part of it again."""
        if not self.path.is_dir():
            raise VitrailError(f"{self.path} was removed while the run was going: start a new run")

    def write(self, name: str, text: str) -> None:
        """Write a text file atomically; the sha256 of a guarded file is recorded, see `require_unchanged`."""
        self.require_there()
        if name in GUARDED:
            # Before the file, with that of the old one: whenever the process ends, the file is one of the two.
            known, file = self._digests(), self.path / name
            old = [_sha256(file.read_bytes())] if file.is_file() else []
            known[name] = [*(digest for digest in old if digest in known.get(name, [])), _sha256(_encoded(text))]
            write_file(self.path / DIGESTS, json.dumps(known, indent=2).encode())
        write_file(self.path / name, _encoded(text))

    def require_unchanged(self) -> None:
        """Raise VitrailError if a guarded file differs from what the run wrote; runs of earlier versions pass."""
        known = self._digests()
        for name in [name for name in GUARDED if name in known or (known and name != PLAN)]:
            file = self.path / name
            if not file.is_file():
                raise VitrailError(f"{self.path} cannot be resumed: {name} is missing; restore it, or start a new run")
            if _sha256(file.read_bytes()) not in known.get(name, []):
                raise VitrailError(
                    f"{file} was changed after the run began (sha256 differs), and a resumed run goes on as it began: "
                    "restore it, or start a new run, with --recipe for another recipe"
                )

    def _digests(self) -> dict[str, list[str]]:
        file = self.path / DIGESTS
        try:
            found = convert(dict[str, tuple[str, ...]], read_json(file), DIGESTS) if file.is_file() else {}
        except VitrailError as fault:
            raise VitrailError(f"{file} is damaged: {fault}; restore it, or start a new run") from None
        return {name: list(digests) for name, digests in found.items()}

    def read_json(self, name: str) -> Any:
        """Parse a JSON file of the run."""
        file = self.path / name
        if not file.is_file():
            raise VitrailError(f"{self.path} is not a run that can be resumed: it has no {name}; start a new one")
        try:
            return read_json(file)
        except Unreadable as fault:
            raise VitrailError(f"{file} is damaged: {fault}; restore it, or start a new run") from None

    def plan(self) -> StepPlan | None:
        """Read the plan of a run with a time budget; None if none was written."""
        file = self.path / PLAN
        return StepPlan.from_json(file.read_text(encoding="utf-8")) if file.is_file() else None

    def write_plan(self, plan: StepPlan) -> None:
        """Save a plan."""
        self.write(PLAN, plan.to_json())

    def seconds(self) -> float:
        """Seconds of the run up to its last saved state, all tries together."""
        file = self.path / TIME
        return build(_Time, self.read_json(TIME), TIME).seconds if file.is_file() else 0.0

    def write_seconds(self, seconds: float) -> None:
        """Save what `seconds` returns."""
        self.write(TIME, json.dumps({"seconds": round(seconds, 1)}) + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """Read the metric log, a dictionary for each evaluation."""
        file = self.path / METRICS
        lines = file.read_bytes().splitlines() if file.is_file() else []
        try:
            return [parse_json(line) for line in lines if line.endswith(b"}")]
        except Unreadable as fault:
            raise VitrailError(f"{file} is damaged: {fault}; restore it, or start a new run") from None

    def write_rows(self, rows: list[dict[str, Any]]) -> None:
        """Replace the metric log, as JSON lines and as a table."""
        self.write(METRICS, "".join(json.dumps(row) + "\n" for row in rows))
        self.write(TABLE, _table(rows))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _encoded(text: str) -> bytes:
    """UTF-8; names of files that are not UTF-8 (Python's surrogate escapes) are written as their own bytes."""
    return text.encode("utf-8", "surrogateescape")


def splits_table(rows: Iterable[tuple[str, str, str, str]]) -> str:
    """Return the text of splits.csv: name, digest of the content, split and label of every image."""
    return csv_text([("name", "digest", "split", "label"), *rows])


def same_splits(rows: Iterable[tuple[str, str, str, str]], file: Path) -> bool:
    """Whether rows equal those of a splits.csv: the same contents with the same labels in the same splits, in order.

    Names may differ: the data may have been moved.
    """
    with file.open(encoding="utf-8", errors="surrogateescape", newline="") as written:
        before = csv.reader(written)
        next(before, None)
        return [row[1:] for row in before] == [list(row[1:]) for row in rows]


def versions() -> dict[str, str]:
    """Versions of the libraries, Python and the platform, and vitrail's git commit if it runs from a clone."""
    import numpy
    import PIL
    import torch
    import torchvision

    found = {
        "vitrail": __version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": numpy.__version__,
        "pillow": PIL.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    commit = _git_commit(Path(__file__).parent)
    return {**found, "git_commit": commit} if commit else found


def _git_commit(folder: Path) -> str | None:
    git = shutil.which("git")
    if git is None:
        return None

    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([git, "-C", str(folder), *words], capture_output=True, text=True, check=False)

    # An installed copy may be inside another project's repository, whose commit is not vitrail's.
    if ask("ls-files", "--error-unmatch", Path(__file__).name).returncode:
        return None
    return ask("describe", "--always", "--dirty", "--abbrev=40", "--match=").stdout.strip() or None


def _table(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return csv_text([columns, *([row.get(column, "") for column in columns] for row in rows)])
