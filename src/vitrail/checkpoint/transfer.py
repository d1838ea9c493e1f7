"""Converts weights of other libraries and pickles to a checkpoint."""

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import safetensors
import torch

from ..errors import VitrailError
from ..rewrites.registry import merge_lora
from .contract import Checkpoint, load, save
from .foreign_config import CARDS
from .origin import public_name
from .timm_card import stated_architecture
from .unpickle import REFUSED
from .weights import is_pickle


def convert(source: str | Path, target: str | Path, *, architecture: str | None = None, **facts: Any) -> Checkpoint:
    """Load weights, pickles included, and save them as a checkpoint; low-rank updates are merged.

    Args:
        source: any source for `load`, or a pickle (.pt, .pth, .bin, .ckpt), which is read in a separate process.
        target: folder, or .safetensors file.
        architecture: the variant, needed if the shapes of the weights fit several.
        facts: config fields, as in `load`, such as num_heads.
    """
    path = Path(source)
    if is_pickle(path):
        checkpoint = load_pickle(path, architecture=architecture, **facts)
    else:
        checkpoint = load(source, architecture=architecture, **facts)
    checkpoint = replace(checkpoint, model=merge_lora(checkpoint.model))
    save(checkpoint, target)
    return checkpoint


_RUN = """\
import runpy, sys
sys.path += sys.argv[3:]
del sys.argv[3:]
runpy.run_module("vitrail.checkpoint.unpickle", run_name="__main__")
"""
"""Program with the arguments IN OUT FOLDERS."""


def _isolated(source: Path, target: Path) -> list[str]:
    """Command line that runs `unpickle` in an isolated Python: without the current folder, PYTHONPATH and user site.

    It still has to find what it imports where this process found it, so those folders are passed on.
    """
    ours = Path(__file__).parents[2]
    places = [ours, *(Path(str(package.__file__)).parents[1] for package in (torch, safetensors, numpy))]
    # Absolute paths: a name such as -c.pth would be an option.
    return [sys.executable, "-I", "-c", _RUN, *map(str, [source.absolute(), target, *dict.fromkeys(places)])]


def load_pickle(path: Path, *, architecture: str | None = None, **facts: Any) -> Checkpoint:
    """Load a pickle of tensors; a configuration file beside it is used if there is one.

    Args:
        path: the file.
        architecture: the variant; by default the one that the file states, as timm's training script does.
        facts: config fields, as in `load`.

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
        if done.returncode == REFUSED:
            raise VitrailError(
                f"{path} was rejected, and none of its code was run ({reason}): use weights in safetensors"
            )
        if done.returncode:
            raise VitrailError(f"{path} could not be read ({reason}): get the file again")
        for card in (*CARDS, "preprocessor_config.json"):
            if (path.parent / card).is_file():
                (Path(folder) / card).write_bytes((path.parent / card).read_bytes())
        whole = any((Path(folder) / card).is_file() for card in CARDS)
        found = json.loads(done.stdout)
        if not whole and found["architecture"] and not architecture:
            architecture = stated_architecture(found["architecture"])
        checkpoint = load(folder if whole else weights, architecture=architecture, **facts)
    checkpoint.info["origin"] = public_name(str(path))
    checkpoint.info["adapted"] = [*found["notes"], *checkpoint.info["adapted"]]
    return checkpoint
