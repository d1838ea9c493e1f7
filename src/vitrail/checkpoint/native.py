"""Checkpoints of vitrail on disk: a folder with a manifest, or one file with the same data in its header."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, uint8

from ..data.tokenize import FILE as TOKENIZER
from ..errors import VitrailError
from ..plain import MOST_BYTES, Unreadable, read_bounded
from .atomic import Content, DamagedCheckpoint, read_manifest, verified_folder, write_file, write_folder
from .document import MODEL_JSON, Stored, from_json, to_json

MODEL, WEIGHTS = MODEL_JSON, "model.safetensors"
_HEADER, _DIGEST, _FULL_DIGEST, _TOKENIZER = "vitrail", "sha256", "sha256_of_all", "tokenizer"


def write_native(stored: Stored, path: Path, extra: Mapping[str, Content]) -> None:
    """Write a folder, or one file if `path` ends in .safetensors, atomically."""
    text = to_json(stored)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in stored.state.items()}
    if path.suffix == ".safetensors":
        if extra:
            raise VitrailError(f"{path} is a single file and cannot store {', '.join(extra)}: save to a folder")
        header = {_HEADER: text, _FULL_DIGEST: _full_digest(text + (stored.tokenizer or ""), state)}
        header |= {} if stored.tokenizer is None else {_TOKENIZER: stored.tokenizer}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, lambda file: _save(state, file, header))
        return
    files: dict[str, Content] = {MODEL: text.encode(), WEIGHTS: lambda file: _save(state, file)}
    files |= {} if stored.tokenizer is None else {TOKENIZER: stored.tokenizer.encode()}
    write_folder(path, {**files, **extra})


def read_folder(path: Path) -> Stored:
    """Read a checkpoint folder after comparing it with its manifest."""
    folder = verified_folder(path)
    for name in (MODEL, WEIGHTS):
        if name not in read_manifest(folder):
            raise VitrailError(f"{path} is a complete folder but not a checkpoint: it has no {name}")
    try:
        text = read_bounded(folder / MODEL, MOST_BYTES)
    except Unreadable as fault:
        raise VitrailError(f"{folder / MODEL} cannot be read: {fault}; use another checkpoint") from None
    stored = from_json(text, read_tensors(folder / WEIGHTS)[0], str(path))
    return replace(stored, tokenizer=_tokenizer(folder))


def _tokenizer(folder: Path) -> str | None:
    """The tokenizer of a checkpoint folder, if its manifest has one."""
    if TOKENIZER not in read_manifest(folder):
        return None
    try:
        return read_bounded(folder / TOKENIZER, MOST_BYTES).decode()
    except (Unreadable, UnicodeDecodeError) as fault:
        raise VitrailError(f"{folder / TOKENIZER} cannot be read: {fault}; use another checkpoint") from None


def read_file(path: Path) -> Stored | dict[str, Tensor]:
    """Read a .safetensors file: a checkpoint if its header describes one, otherwise a bare state dict."""
    state, header = read_tensors(path)
    if not {_HEADER, _DIGEST, _FULL_DIGEST} & header.keys():
        return state
    if not _is_whole(header, state):
        raise DamagedCheckpoint(f"{path} is damaged: it was altered (sha256 differs); use another checkpoint")
    return replace(from_json(header[_HEADER], state, str(path)), tokenizer=header.get(_TOKENIZER))


def _is_whole(header: Mapping[str, str], state: Mapping[str, Tensor]) -> bool:
    if header.keys() - {_TOKENIZER} == {_HEADER, _FULL_DIGEST}:
        return header[_FULL_DIGEST] == _full_digest(header[_HEADER] + header.get(_TOKENIZER, ""), state)
    # Earlier versions had a digest of the tensors only.
    return header.keys() == {_HEADER, _DIGEST} and header[_DIGEST] == tensors_digest(state)


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


def _full_digest(text: str, state: Mapping[str, Tensor]) -> str:
    """sha256 of a description and of dtypes, shapes, names and values of its tensors, in hexadecimal."""
    total = hashlib.sha256(text.encode())
    for name in sorted(state):
        total.update(f"\0{name}\0{state[name].dtype}{tuple(state[name].shape)}".encode())
    total.update(tensors_digest(state).encode())
    return total.hexdigest()


def tensors_digest(state: Mapping[str, Tensor]) -> str:
    """sha256 of names and values of tensors, in hexadecimal."""
    total = hashlib.sha256()
    for name in sorted(state):
        total.update(name.encode())
        total.update(state[name].detach().cpu().contiguous().reshape(-1).view(uint8).numpy().data)
    return total.hexdigest()
