"""Finds and reads a source of weights.

What reads weights of other libraries is imported when it is needed: it has the layouts of all families, and would
double the start of every command that loads a checkpoint of vitrail.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import VitrailError
from ..models.families import variant_names
from ..models.fields import ModelConfig
from ..models.registry import is_model_name, model_config
from ..progress import Say
from ..rewrites.base import Rewrite
from .atomic import MANIFEST
from .document import Stored
from .native import read_file, read_folder
from .origin import is_hub_id
from .weights import is_pickle


def read(source: str | Path, architecture: str | None, facts: dict[str, Any], say: Say) -> Stored:
    """Read any source that `load` accepts.

    Args:
        source: a run folder, a checkpoint, weights of another library, or a hub id.
        architecture: variant of such weights, see `load`.
        facts: config fields given by the user, which complete those that cannot be inferred from the weights.
        say: receives a sentence with the licence before anything is downloaded.
    """
    if not isinstance(source, (str, Path)):
        raise VitrailError(f"weights are named by a path or a hub id, not by {source!r}")
    path = Path(source)
    if path.is_file():
        return _read_file(path, architecture, facts)
    best = path / "checkpoints" / "best"
    if (path / "recipe.yaml").is_file() or best.is_dir():
        return read_folder(best)
    # A write that was killed between its two renames leaves the checkpoint under its temporary name.
    if (path / MANIFEST).is_file() or (not path.exists() and path.with_name(f"{path.name}.old").is_dir()):
        return read_folder(path)
    if path.is_dir():
        return _read_model_folder(path, architecture, facts)
    if not is_hub_id(str(source)):
        if str(source) in variant_names():
            raise VitrailError(
                f"{source} is the name of a model, not of weights: load a hub id, timm/{source} and a tag "
                "(such as timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k), or create_model for random weights"
            )
        raise VitrailError(f"there is no file or folder {source}: check the path")
    return _from_hub(str(source), architecture, facts, say)


def named_config(name: str, say: Say) -> ModelConfig:
    """Config of a variant, or of any source that `load` accepts.

    Args:
        name: name of a variant or of a model in a paper, or path or hub id of a checkpoint.
        say: as in `read`.

    Raises:
        VitrailError: unknown name, or a checkpoint that cannot be read.
    """
    if Path(name).exists() or (is_hub_id(name) and not is_model_name(name)):
        return read(name, None, {}, say).config
    return model_config(name)


def named_rewrites(name: str, say: Say) -> tuple[Rewrite, ...]:
    """Rewrites of the model of `named_config`; a variant has none."""
    if Path(name).exists() or (is_hub_id(name) and not is_model_name(name)):
        return read(name, None, {}, say).rewrites
    return ()


def _read_file(path: Path, architecture: str | None, facts: dict[str, Any]) -> Stored:
    if is_pickle(path):
        target = path.with_name(f"{path.name.partition('.')[0]}.safetensors")
        raise VitrailError(
            f"{path} is a pickle, which can run code when it is read: "
            f"convert it safely with `vitrail convert {path} -o {target}`"
        )
    state = None if path.suffix == ".npz" else read_file(path)
    if isinstance(state, Stored):
        return state
    from .card import Card
    from .foreign import from_state, read_npz

    found = read_npz(path) if state is None else state
    return from_state(found, Card(), architecture, facts, origin=str(path))


def _read_model_folder(path: Path, architecture: str | None, facts: dict[str, Any]) -> Stored:
    from .foreign import read_model_folder
    from .foreign_config import CARDS

    if not any((path / card).is_file() for card in CARDS):
        raise VitrailError(
            f"{path} is not a checkpoint: it has neither {MANIFEST} nor a {' or '.join(CARDS)} of another library"
        )
    return read_model_folder(path, architecture, facts)


def _from_hub(repository: str, architecture: str | None, facts: dict[str, Any], say: Say) -> Stored:
    from .hub import fetch

    folder, license = fetch(repository, say)
    stored = read(folder, architecture, facts, say)
    info = {**stored.info, "origin": repository, "license": stored.info.get("license") or license}
    return replace(stored, info=info)
