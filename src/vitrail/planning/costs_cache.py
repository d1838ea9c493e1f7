"""Cache of the costs of models: there are a few hundred, and each is built on the meta device to be counted."""

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from ..version import __version__
from .flops import Count, count


class CostsCache:
    """Counts by config, in one JSON file; counts of another version of vitrail or PyTorch are not used.

    If the file cannot be read or written, counts are kept in memory only.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "costs.json"
        self.stamp = f"vitrail {__version__}, torch {torch.__version__}"
        self.known: dict[str, list[int]] = {}
        self.new = False
        with suppress(OSError, ValueError, AttributeError):
            document = json.loads(self.path.read_bytes())
            self.known = document["counts"] if document.get("stamp") == self.stamp else {}

    def count(self, config: Any) -> Count:
        """`flops.count`, cached."""
        key = repr(config)
        if key not in self.known:
            counted = count(config)
            self.known[key] = [counted.parameters, counted.flops]
            self.new = True
        return Count(*self.known[key])

    def save(self) -> None:
        """Write the file atomically if there are new counts."""
        if not self.new:
            return
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self.path.parent, suffix=".json", delete=False) as file:
                json.dump({"stamp": self.stamp, "counts": self.known}, file)
            os.replace(file.name, self.path)
