"""The run folder: what a training run leaves, and what people publish."""

import csv
import io
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..checkpoint.atomic import write_file
from ..errors import VitrailError
from ..tables import csv_text

METRICS, TABLE, RECIPE, SPLITS, DATA = (
    "metrics.jsonl",
    "metrics.csv",
    "recipe.yaml",
    "splits.csv",
    "data.json",
)


class RunFolder:
    """Paths and small files of one run; weights and state are saved by the checkpoint room."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"

    def create(self, files: Mapping[str, str], save_state: Callable[[Path], None]) -> None:
        """Make the folder with these text files and the state before the first step, all at once.

        A kill leaves no half-made run, and a run needs nothing but its folder and its data to be resumed.

        Args:
            files: name -> text.
            save_state: saves the state to a folder.

        Raises:
            VitrailError: it exists and is not empty, so that no run writes over another.
        """
        self.require_free()
        stage = self.path.with_name(f"{self.path.name}.new")
        shutil.rmtree(stage, ignore_errors=True)
        (stage / self.checkpoints.name).mkdir(parents=True)
        for name, text in files.items():
            write_file(stage / name, text.encode())
        save_state(stage / self.checkpoints.name / "last")
        os.replace(stage, self.path)

    def require_free(self) -> None:
        """Refuse a place where something is already."""
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise VitrailError(
                f"{self.path} exists already: choose another --out, or go on with `vitrail train --resume {self.path}`"
            )

    def write(self, name: str, text: str) -> None:
        """Write a text file, whole or not at all."""
        write_file(self.path / name, text.encode())

    def read_json(self, name: str) -> Any:
        """A JSON file of the run."""
        file = self.path / name
        if not file.is_file():
            raise VitrailError(f"{self.path} is no run that can go on: it has no {name}; start a new one")
        return json.loads(file.read_text(encoding="utf-8"))

    def rows(self) -> list[dict[str, Any]]:
        """The metric log, a dictionary for each evaluation."""
        file = self.path / METRICS
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def write_rows(self, rows: list[dict[str, Any]]) -> None:
        """Replace the metric log, as JSON lines and as a table."""
        self.write(METRICS, "".join(json.dumps(row) + "\n" for row in rows))
        self.write(TABLE, _table(rows))


def splits_table(rows: Iterable[tuple[str, str, str, str]]) -> str:
    """splits.csv: name, digest of the content, split and label of every image."""
    return csv_text([("name", "digest", "split", "label"), *rows])


def same_splits(rows: Iterable[tuple[str, str, str, str]], written: str) -> bool:
    """Whether rows are those of a splits.csv: the same contents with the same labels in the same parts, in order.

    Names may differ: the data may have been moved.
    """
    before = csv.reader(io.StringIO(written))
    next(before, None)
    return [row[1:] for row in before] == [list(row[1:]) for row in rows]


def versions() -> dict[str, str]:
    """What ran: library versions, Python, platform, and vitrail's git commit where it runs from a clone."""
    import numpy
    import PIL
    import torch
    import torchvision

    from .. import __version__

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

    # An installed copy may lie inside somebody else's repository, whose commit says nothing about it.
    if ask("ls-files", "--error-unmatch", Path(__file__).name).returncode:
        return None
    return ask("describe", "--always", "--dirty", "--abbrev=40", "--match=").stdout.strip() or None


def _table(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return csv_text([columns, *([row.get(column, "") for column in columns] for row in rows)])
