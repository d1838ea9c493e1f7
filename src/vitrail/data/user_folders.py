"""The folders for named data sets and for the cache."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """$VITRAIL_CACHE, or the `vitrail` folder in the user's cache; not made here."""
    if chosen := os.environ.get("VITRAIL_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vitrail"


def data_folder() -> Path:
    """$VITRAIL_DATA, or ./data: where named data sets lie, or are downloaded to."""
    return Path(os.environ.get("VITRAIL_DATA") or "data")
