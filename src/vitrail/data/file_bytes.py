"""Reads the bytes of image files: regular files of bounded size only."""

import os
import stat
from pathlib import Path

MAX_BYTES = 2**30
"""Largest size of an image file in bytes; larger ones are refused before they are read."""


def read_file(path: str | Path, *, offset: int = 0, size: int | None = None) -> bytes:
    """Read a regular file, or `size` bytes from `offset` of it.

    Raises:
        OSError: the file cannot be read, is larger than `MAX_BYTES`, or is a device, a pipe or a link to one, which
            may have no end.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # opening a folder has its own error
        raise OSError("not a regular file but a device or pipe, or a link to one")
    with open(path, "rb") as file:
        count = os.fstat(file.fileno()).st_size if size is None else size
        _check(count)
        file.seek(offset)
        data = file.read(MAX_BYTES + 1 if size is None else size)
    if size is not None and len(data) < size:  # a member of an archive that is cut short: "12" would be read as label 1
        raise OSError(f"truncated: {len(data):,} bytes of {size:,}")
    _check(len(data))  # a file may grow, and those of /proc have size 0
    return data


def _check(count: int) -> None:
    if count > MAX_BYTES:
        raise OSError(f"too large: {count:,} bytes, the limit is {MAX_BYTES:,}")
