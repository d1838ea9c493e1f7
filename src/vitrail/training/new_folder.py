"""Names and creates the folder of a new run."""

from collections.abc import Callable
from pathlib import Path

from .folder import FolderTaken, RunFolder


def next_run(source: str, parent: Path = Path("runs")) -> Path:
    """Return runs/NAME-N with the smallest free N, from 1; NAME has no options, as in `scenes:size=64`."""
    kind, _, rest = source.partition(":")
    source = kind if "=" in rest else source
    name = Path(source.rstrip("/")).name.split(".")[0].split(":")[-1] or "run"
    number = 1
    while (parent / f"{name}-{number}").exists():
        number += 1
    return parent / f"{name}-{number}"


def create_folder(folder: RunFolder, files: dict[str, str], save: Callable[[Path], None], *, given: bool) -> RunFolder:
    """Create the folder, or, if a run that began at the same time has taken it and it is not `given`, the next one."""
    while True:
        try:
            folder.create(files, save)
            return folder
        except FolderTaken:
            if given:
                raise
            folder = RunFolder(next_run(folder.path.name.rpartition("-")[0], folder.path.parent))
