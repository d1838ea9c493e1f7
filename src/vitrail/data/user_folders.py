"""Folders of named data sets and of the cache."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """$VITRAIL_CACHE, or the `vitrail` folder in the user's cache; not created here."""
    if chosen := os.environ.get("VITRAIL_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vitrail"


def data_folder() -> Path:
    """$VITRAIL_DATA, or ./data: the folder of named data sets and downloads."""
    return Path(os.environ.get("VITRAIL_DATA") or "data")
