"""What the user means by a source of weights."""

from pathlib import Path

from ..errors import VitrailError
from .document import Stored
from .native import read_file, read_folder


def read(source: str | Path, architecture: str | None = None) -> Stored:
    """Read a run folder, a checkpoint folder or file."""
    path = Path(source)
    best = path / "checkpoints" / "best"
    if (path / "recipe.yaml").is_file() or best.exists():
        return read_folder(best)
    if path.is_file():
        found = read_file(path)
        if isinstance(found, Stored):
            return found
    if path.is_dir() or path.with_name(f"{path.name}.old").is_dir():
        return read_folder(path)
    raise VitrailError(f"there is no checkpoint {source}: check the path")
