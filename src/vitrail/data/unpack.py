"""Unpacks compressed archives into the cache folder, since they have no random access."""

import bz2
import gzip
import hashlib
import lzma
import os
import re
import tempfile
from collections.abc import Callable
from io import BufferedIOBase
from pathlib import Path

from ..errors import VitrailError
from .tar_members import DamagedArchiveError
from .user_folders import cache_folder

_MOST_GROWTH = 100
"""Largest size of an unpacked archive, in its packed size: archives of images grow little, bombs a thousandfold."""
_ALWAYS_FINE = 2**26
_CHUNK = 2**20


def unpacked(path: Path) -> Path:
    """Return the path of an archive, or of its unpacked copy in `cache_folder()` if it is compressed.

    Raises:
        DamagedArchiveError: it cannot be unpacked to its end, or it is far larger than archives of images.
        VitrailError: the copy cannot be written, or a package for the format is missing.
        OSError: it cannot be read.
    """
    opened = _opener(path)
    if opened is None:
        return path
    facts = path.stat()
    place = hashlib.blake2b(os.fsencode(path.resolve()), digest_size=12).hexdigest()
    folder, stem = cache_folder() / "shards", f"{place}-{facts.st_size}-{facts.st_mtime_ns}"
    try:
        for copy in folder.glob(f"{place}-*"):
            # The size in the name shows a copy that was cut off by a full disk or a crash.
            if copy.name == f"{stem}-{copy.stat().st_size}.tar":
                return copy
            copy.unlink(missing_ok=True)
        return _unpack(path, opened, folder, stem, max(_ALWAYS_FINE, _MOST_GROWTH * facts.st_size))
    except OSError as error:
        raise VitrailError(
            f"{path} cannot be unpacked to {folder}: {error.strerror or error}; make space there, or set VITRAIL_CACHE "
            "to another folder"
        ) from error


def _unpack(path: Path, opened: Callable[[Path], BufferedIOBase], folder: Path, stem: str, limit: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=folder, suffix=".part")
    size = 0
    try:
        with open(handle, "wb") as copy, opened(path) as packed:
            while block := _read(packed):
                size += len(block)
                if size > limit:
                    raise DamagedArchiveError(
                        f"it unpacks to more than {limit:,} bytes, {_MOST_GROWTH} times its size: if that is right, "
                        "unpack it yourself"
                    )
                copy.write(block)
            copy.flush()
            os.fsync(handle)
        target = folder / f"{stem}-{size}.tar"
        os.replace(part, target)
    finally:
        Path(part).unlink(missing_ok=True)
    return target


def _read(packed: BufferedIOBase) -> bytes:
    try:
        return packed.read(_CHUNK)
    except Exception as error:  # each format raises its own errors, and OSError for damage too
        raise DamagedArchiveError(f"it cannot be unpacked: {error}") from error


def _opener(path: Path) -> Callable[[Path], BufferedIOBase] | None:
    """Find the function that opens a compressed file, by its first bytes; None if it is not compressed."""
    if not path.is_file():
        raise OSError("not a regular file but a folder, device or pipe")
    with open(path, "rb") as file:
        head = file.read(512)
    if head[257:262] == b"ustar":
        return None
    return next((opened for magic, opened in _FORMATS.items() if re.match(magic, head, re.DOTALL)), None)


def _open_zstd(path: Path) -> BufferedIOBase:
    try:
        from compression import zstd  # Python 3.14
    except ImportError:
        try:
            from backports import zstd
        except ImportError as error:
            raise VitrailError(f'{path} is packed by Zstandard: pip install "vitrail[zstd]" to read it') from error
    found: BufferedIOBase = zstd.ZstdFile(path)
    return found


_FORMATS: dict[bytes, Callable[[Path], BufferedIOBase]] = {
    rb"\x1f\x8b": gzip.GzipFile,
    rb"\x28\xb5\x2f\xfd": _open_zstd,
    rb"BZh[1-9]1AY&SY": bz2.BZ2File,
    rb"\xfd7zXZ\x00": lzma.LZMAFile,
}
"""Pattern of the first bytes -> function that opens such a file."""
