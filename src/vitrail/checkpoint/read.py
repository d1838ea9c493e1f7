"""What the user means by a source of weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import VitrailError
from .atomic import MANIFEST
from .document import Stored
from .foreign import PICKLES, from_state, read_model_folder, read_npz
from .foreign_config import Card
from .hub import Say, fetch, is_hub_id
from .native import read_file, read_folder


def read(source: str | Path, architecture: str | None, facts: dict[str, Any], say: Say) -> Stored:
    """Read whatever `load` accepts.

    Args:
        source: a run folder, a checkpoint, foreign weights, or a hub id.
        architecture: for foreign weights, see `load`.
        facts: config fields that the user gives; they complete what foreign weights leave open.
        say: gets a sentence with the licence before anything is downloaded.
    """
    path = Path(source)
    if path.is_file():
        return _read_file(path, architecture, facts)
    best = path / "checkpoints" / "best"
    if (path / "recipe.yaml").is_file() or best.is_dir():
        return read_folder(best)
    # A write that was killed between its two renames leaves the checkpoint beside its place.
    if (path / MANIFEST).is_file() or (not path.exists() and path.with_name(f"{path.name}.old").is_dir()):
        return read_folder(path)
    if path.is_dir():
        return _read_model_folder(path, architecture, facts)
    if not is_hub_id(str(source)):
        raise VitrailError(f"there is no file or folder {source}: check the path")
    return _from_hub(str(source), architecture, facts, say)


def _read_file(path: Path, architecture: str | None, facts: dict[str, Any]) -> Stored:
    if path.suffix in PICKLES:
        raise VitrailError(
            f"{path} is a pickle, which can run code when it is read: "
            f"`vitrail convert {path} -o {path.with_suffix('.safetensors')}` makes a safe file of it"
        )
    found = read_npz(path) if path.suffix == ".npz" else read_file(path)
    if isinstance(found, Stored):
        return found
    return from_state(found, Card(), architecture, _shape_givers(facts), origin=str(path))


def _read_model_folder(path: Path, architecture: str | None, facts: dict[str, Any]) -> Stored:
    if not (path / "config.json").is_file():
        raise VitrailError(f"{path} is no checkpoint: it has neither {MANIFEST} nor a config.json of other libraries")
    return read_model_folder(path, architecture, _shape_givers(facts))


def _from_hub(repository: str, architecture: str | None, facts: dict[str, Any], say: Say) -> Stored:
    folder, license = fetch(repository, say)
    stored = read(folder, architecture, facts, say)
    info = {**stored.info, "origin": repository, "license": stored.info.get("license") or license}
    return replace(stored, info=info)


def _shape_givers(facts: dict[str, Any]) -> dict[str, Any]:
    # What the user wants of the model, such as its classes, is for `adapt`; this completes unclear weights.
    return {key: facts[key] for key in ("num_heads",) if key in facts}
