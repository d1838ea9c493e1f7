"""The cache of the survey: size, channels, type and content hash of files that have not changed since."""

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

RULES = 3
"""Version of `decode`, increased if it accepts or returns something else, so that older entries are not used."""

_TABLE = """CREATE TABLE IF NOT EXISTS checked (
    stamp BLOB PRIMARY KEY, height INTEGER, width INTEGER, channels INTEGER, digest TEXT, value_bytes INTEGER,
    frames INTEGER, sum BLOB) WITHOUT ROWID"""
_OUT_OF_REACH = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_IOERR,
)
"""Errors of a file that is not damaged: another run has it, the disk is full, the folder is read-only."""
_BATCH = 500  # SQLite's older builds take no more than 999 parameters


@dataclass(frozen=True, slots=True)
class Facts:
    """Size, channels and content hash of one image.

    Attributes:
        height, width: in pixels, upright.
        channels: its natural number of channels, see `vitrail.data.decode`.
        digest: BLAKE2b (128 bits, hexadecimal) of the bytes of its file: equal for exact duplicates.
        value_bytes: bytes of a value of the decoded image: 1 for uint8, 4 for float32.
        frames: number of frames of a clip; 1 for an image.
    """

    height: int
    width: int
    channels: int
    digest: str
    value_bytes: int = 1
    frames: int = 1


def digest(data: bytes) -> str:
    """Content hash of a file's bytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def key(stamp: str) -> bytes:
    """Short key of a location's stamp, for the current version."""
    return hashlib.blake2b(f"{RULES}|{stamp}".encode(errors="surrogateescape"), digest_size=16).digest()


class FactsCache:
    """Cache of facts by stamp in one SQLite file, each with a checksum, which SQLite does not have.

    Damaged entries are not used, and a file that cannot be read or written is ignored.
    """

    def __init__(self, folder: Path):
        self.path = folder / "survey.sqlite"

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Facts]:
        """Cached facts by key; unknown keys are left out."""
        found: dict[bytes, Facts] = {}
        if not os.path.exists(self.path):  # unlike Path's, False for a folder that may not be read
            return found
        with suppress(sqlite3.Error), closing(sqlite3.connect(self.path)) as base:
            for start in range(0, len(keys), _BATCH):
                batch = keys[start : start + _BATCH]
                marks = ",".join("?" * len(batch))
                for *row, checksum in base.execute(f"SELECT * FROM checked WHERE stamp IN ({marks})", batch):
                    if checksum == _checksum(row):
                        found[row[0]] = Facts(*row[1:])
        return found

    def put(self, rows: Iterable[tuple[bytes, Facts]]) -> None:
        """Store facts by key; a damaged cache file is replaced."""
        plain = [(stamp, *astuple(facts)) for stamp, facts in rows]
        values = [(*row, _checksum(row)) for row in plain]
        if not values:
            return
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._write(values)
            except sqlite3.DatabaseError as error:
                if error.sqlite_errorcode & 0xFF in _OUT_OF_REACH:
                    return
                os.unlink(self.path)
                with suppress(sqlite3.Error):
                    self._write(values)

    def _write(self, values: list[tuple[Any, ...]]) -> None:
        with closing(sqlite3.connect(self.path)) as base, base:
            base.execute(_TABLE)
            base.executemany("INSERT OR REPLACE INTO checked VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)


def _checksum(row: Sequence[Any]) -> bytes:
    return hashlib.blake2b(repr(tuple(row)).encode(), digest_size=8).digest()
