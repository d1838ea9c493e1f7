"""Checkpoints of vitrail on disk: a folder with a manifest, or one file with the same data in its header."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, uint8

from ..errors import VitrailError
from .atomic import Content, DamagedCheckpoint, verified_folder, write_file, write_folder
from .document import Stored, from_json, to_json

MODEL, WEIGHTS = "model.json", "model.safetensors"
_HEADER, _DIGEST = "vitrail", "sha256"


def write_native(stored: Stored, path: Path, extra: Mapping[str, Content]) -> None:
    """Write a folder, or one file if `path` ends in .safetensors, atomically."""
    text = to_json(stored)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in stored.state.items()}
    if path.suffix == ".safetensors":
        if extra:
            raise VitrailError(f"{path} is a single file and cannot store {', '.join(extra)}: save to a folder")
        header = {_HEADER: text, _DIGEST: tensors_digest(state)}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, lambda file: _save(state, file, header))
        return
    files: dict[str, Content] = {MODEL: text.encode(), WEIGHTS: lambda file: _save(state, file)}
    write_folder(path, {**files, **extra})


def read_folder(path: Path) -> Stored:
    """Read a checkpoint folder after comparing it with its manifest."""
    folder = verified_folder(path)
    if not (folder / MODEL).is_file():
        raise VitrailError(f"{path} is a complete folder but not a checkpoint: it has no {MODEL}")
    return from_json((folder / MODEL).read_bytes(), read_tensors(folder / WEIGHTS)[0], str(path))


def read_file(path: Path) -> Stored | dict[str, Tensor]:
    """Read a .safetensors file: a checkpoint if its header describes one, otherwise a bare state dict."""
    state, header = read_tensors(path)
    if _HEADER not in header:
        return state
    if header.get(_DIGEST) != tensors_digest(state):
        raise DamagedCheckpoint(f"{path} is damaged: its tensors were altered (sha256 differs); use another checkpoint")
    return from_json(header[_HEADER], state, str(path))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and header of a .safetensors file into memory."""
    try:
        with safe_open(path, framework="pt") as file:
            # A clone does not depend on the memory-mapped file, and is aligned for fast kernels.
            return {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError:
        raise VitrailError(f"there is no file {path}: check the path") from None
    except (SafetensorError, ValueError) as error:
        raise DamagedCheckpoint(
            f"{path} is damaged or not a safetensors file ({error}): use another checkpoint"
        ) from None


def _save(state: dict[str, Tensor], file: Path, header: dict[str, str] | None = None) -> None:
    try:
        save_file(state, file, metadata=header)
    except SafetensorError as error:
        # safetensors wraps system errors ("os error 28"); callers expect an OSError for a full disk.
        code = re.search(r"os error (\d+)", str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(file)) from None


def tensors_digest(state: Mapping[str, Tensor]) -> str:
    """sha256 of names and values of tensors, in hexadecimal."""
    total = hashlib.sha256()
    for name in sorted(state):
        total.update(name.encode())
        total.update(state[name].detach().cpu().contiguous().reshape(-1).view(uint8).numpy().data)
    return total.hexdigest()
