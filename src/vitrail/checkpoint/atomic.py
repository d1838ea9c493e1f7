"""Atomic writes of files and folders: after any failure, the old or the new content is complete.

A folder is written as `NAME.new`, every file fsynced, the manifest last. Then the old folder is renamed to `NAME.old`,
the new one to `NAME`, and the old one is deleted. At every moment one of the three is complete, which its manifest
proves; `verified_folder` finds it.
"""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import VitrailError
from ..plain import Unreadable, read_json, short
from ..typed import build

Content = bytes | Callable[[Path], None]
"""Content of a file: its bytes, or a function that writes it to a path."""

MANIFEST = "manifest.json"
_FORMAT = "vitrail.manifest"

_HEAD = 1000
"""Bytes of a manifest in which its format is named."""


class DamagedCheckpoint(VitrailError):  # noqa: N818 - the name of a state of a file
    """A checkpoint differs from what was written: a file is missing, truncated or altered."""


def write_file(path: Path, content: Content) -> None:
    """Write one file atomically: after a failure the old one is unchanged."""
    path = path.resolve()
    fresh = _beside(path, "new")
    try:
        _write(fresh, content)
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_folder(path: Path, files: Mapping[str, Content]) -> None:
    """Write a folder of files with a manifest atomically: after a failure the old or the new one is complete.

    Args:
        path: the folder; one that this function wrote before is replaced, any other raises an error.
        files: plain file name -> content, written in this order.

    Raises:
        VitrailError: `path` is a file, or a folder that this function did not write.
        OSError: the disk is full or fails; the old folder can still be read.
    """
    path = path.resolve()
    fresh, aside = _beside(path, "new"), _beside(path, "old")
    _refuse_strangers(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    finish_interrupted(path)
    try:
        _write_all(fresh, files)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    if path.exists():
        os.rename(path, aside)
    os.rename(fresh, path)
    _sync_folder(path.parent)
    if aside.exists():
        shutil.rmtree(aside)


def verified_folder(path: Path) -> Path:
    """Return the complete folder of this name: `path` itself, or one that an interrupted write left beside it.

    Raises:
        DamagedCheckpoint: there is none; the message has the fault of `path`.
    """
    path = path.resolve()
    try:
        verify_folder(path)
        return path
    except DamagedCheckpoint as damage:
        for other in (_beside(path, "old"), _beside(path, "new")):
            if not _is_complete(other):
                continue
            if path.exists():
                warnings.warn(f"{damage}; {other.name} beside it is complete and is used", stacklevel=2)
            return other
        raise


def finish_interrupted(path: Path) -> None:
    """Finish an interrupted write: replace an incomplete `path` by a complete folder beside it, and remove the rest."""
    path = path.resolve()
    leftovers = [place for place in (_beside(path, "old"), _beside(path, "new")) if place.exists()]
    if leftovers and not _is_complete(path):
        for complete in filter(_is_complete, leftovers):
            shutil.rmtree(path, ignore_errors=True)
            os.rename(complete, path)
            break
    for leftover in leftovers:
        shutil.rmtree(leftover, ignore_errors=True)


def verify_folder(path: Path) -> None:
    """Compare size and sha256 of every file with the manifest.

    Raises:
        DamagedCheckpoint: a file is missing, truncated or altered; the message names it.
    """
    for name, (size, digest) in read_manifest(path).items():
        file = path / name
        if not file.is_file():
            raise DamagedCheckpoint(f"{path} is damaged: {name} is missing; use another checkpoint")
        if file.stat().st_size != size:
            found = file.stat().st_size
            raise DamagedCheckpoint(f"{path} is damaged: {name} has {found} bytes of {size}; use another checkpoint")
        if _sha256(file) != digest:
            raise DamagedCheckpoint(f"{path} is damaged: {name} was altered (sha256 differs); use another checkpoint")


def _write_all(folder: Path, files: Mapping[str, Content]) -> None:
    os.mkdir(folder)
    manifest = {}
    for name, content in files.items():
        if not _is_plain(name):
            raise VitrailError(f"{name!r} cannot be a file of a checkpoint: use a plain name other than {MANIFEST}")
        file = folder / name
        _write(file, content)
        manifest[name] = {"size": file.stat().st_size, "sha256": _sha256(file)}
    _write(folder / MANIFEST, json.dumps({"format": _FORMAT, "version": 1, "files": manifest}, indent=2).encode())
    _sync_folder(folder)


def _write(file: Path, content: Content) -> None:
    if callable(content):
        content(file)
        descriptor = os.open(file, os.O_RDWR)
    else:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        rest = memoryview(b"" if callable(content) else content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_strangers(path: Path) -> None:
    for place in (path, _beside(path, "new"), _beside(path, "old")):
        if place.exists() and not place.is_dir():
            raise VitrailError(f"{place} is a file: choose another folder for the checkpoint")
    # Replacing a folder deletes it: only a folder with our manifest may be deleted.
    if path.exists() and any(path.iterdir()) and not _has_our_manifest(path):
        raise VitrailError(f"{path} exists and is not a checkpoint: choose another folder, or empty this one")


def _has_our_manifest(path: Path) -> bool:
    manifest = path / MANIFEST
    try:
        document = read_json(manifest)
    except FileNotFoundError:
        return False
    except Unreadable:
        return manifest.is_file() and _FORMAT.encode() in _head(manifest)  # a damaged one of ours
    return isinstance(document, dict) and document.get("format") == _FORMAT


def _head(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_HEAD)


def _is_complete(path: Path) -> bool:
    try:
        verify_folder(path)
    except DamagedCheckpoint:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Entry:
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class _Manifest:
    format: str
    version: int
    files: dict[str, _Entry]

    def __post_init__(self) -> None:
        if (self.format, self.version) != (_FORMAT, 1):
            raise VitrailError(f"{MANIFEST} is {self.format[:80]} {self.version} and not {_FORMAT} 1")
        if not self.files:
            raise VitrailError(f"{MANIFEST} lists no files")
        for name in self.files:
            if not _is_plain(name):
                raise VitrailError(f"{MANIFEST} lists {short(name)}, which is not a file of this folder")


def _is_plain(name: str) -> bool:
    """Whether a name is that of a file in the same folder, on every system."""
    return name not in ("", ".", "..", MANIFEST) and not set(name) & set("/\\:\0")


def read_manifest(path: Path) -> dict[str, tuple[int, str]]:
    """File name -> (size, sha256) of a folder, without comparing them with the files.

    Raises:
        DamagedCheckpoint: there is no manifest, or it is damaged.
    """
    try:
        files = build(_Manifest, read_json(path / MANIFEST), MANIFEST).files
    except (FileNotFoundError, NotADirectoryError):
        raise DamagedCheckpoint(f"{path} is not a complete checkpoint: it has no {MANIFEST}") from None
    except VitrailError as fault:
        raise DamagedCheckpoint(
            f"{path} is damaged: {MANIFEST} cannot be read ({fault}); use another checkpoint"
        ) from None
    return {name: (entry.size, entry.sha256) for name, entry in files.items()}


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}.{suffix}")


def _sync_folder(path: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder, and orders renames itself
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
