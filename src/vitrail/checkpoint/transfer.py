"""Converts weights of other libraries and pickles to a checkpoint."""

import subprocess
import sys
import tempfile
from pathlib import Path

import safetensors
import torch

from ..errors import VitrailError
from . import unpickle
from .contract import Checkpoint, load, save
from .foreign import PICKLES


def convert(source: str | Path, target: str | Path, *, architecture: str | None = None) -> Checkpoint:
    """Load weights, pickles included, and save them as a checkpoint.

    Args:
        source: any source for `load`, or a pickle (.pt, .pth, .bin, .ckpt), which is read in a separate process.
        target: folder, or .safetensors file.
        architecture: the variant, needed if the shapes of the weights fit several.
    """
    path = Path(source)
    if path.suffix not in PICKLES:
        checkpoint = load(source, architecture=architecture)
    else:
        checkpoint = load_pickle(path, architecture=architecture)
    save(checkpoint, target)
    return checkpoint


_RUN = """\
import runpy, sys
sys.path += sys.argv[4:]
del sys.argv[0], sys.argv[3:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Program with the arguments SCRIPT IN OUT FOLDERS."""


def _isolated(source: Path, target: Path) -> list[str]:
    """Command line that runs `unpickle` in an isolated Python: without the current folder, PYTHONPATH and user site.

    It still has to find torch and safetensors where this process found them, so their folders are passed on.
    """
    places = [Path(str(package.__file__)).parents[1] for package in (torch, safetensors)]
    # Absolute paths: a name such as -c.pth would be an option.
    words = [unpickle.__file__, source.absolute(), target, *dict.fromkeys(places)]
    return [sys.executable, "-I", "-c", _RUN, *map(str, words)]


def load_pickle(path: Path, *, architecture: str | None = None) -> Checkpoint:
    """Load a pickle of tensors; a config.json beside it is used if there is one.

    Raises:
        VitrailError: the file has more than tensors, or cannot be read.
    """
    if not path.is_file():
        raise VitrailError(f"there is no file {path}: check the path")
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "model.safetensors"
        done = subprocess.run(
            _isolated(path, weights), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        if done.returncode == unpickle.REFUSED:
            raise VitrailError(
                f"{path} was rejected, and none of its code was run ({reason}): use weights in safetensors"
            )
        if done.returncode:
            raise VitrailError(f"{path} could not be read ({reason}): get the file again")
        for card in ("config.json", "preprocessor_config.json"):
            if (path.parent / card).is_file():
                (Path(folder) / card).write_bytes((path.parent / card).read_bytes())
        whole = (Path(folder) / "config.json").is_file()
        checkpoint = load(folder if whole else weights, architecture=architecture)
    checkpoint.info["origin"] = str(path)
    return checkpoint
