"""Folders of named data sets and of the cache."""

import os
import stat
import tempfile
from functools import cache
from pathlib import Path


def cache_folder() -> Path:
    """$VITRAIL_CACHE, or `vitrail` in the user's folder of caches; for a user without a home a temporary folder."""
    if chosen := os.environ.get("VITRAIL_CACHE"):
        return Path(chosen)
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "vitrail"
    try:
        return Path.home() / ".cache/vitrail"
    except RuntimeError:  # no HOME, and a user id that the system does not know, as in containers
        return _temporary_folder()


def data_folder() -> Path:
    """$VITRAIL_DATA, or ./data: the folder of named data sets and downloads."""
    return Path(os.environ.get("VITRAIL_DATA") or "data")


@cache
def _temporary_folder() -> Path:
    """A folder that only this user can write to: others could put their files into one of a known name."""
    folder = Path(tempfile.gettempdir()) / f"vitrail-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
    except OSError:
        return Path(tempfile.mkdtemp(prefix="vitrail-"))
    is_ours = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid()
    return folder if is_ours and not facts.st_mode & 0o022 else Path(tempfile.mkdtemp(prefix="vitrail-"))
