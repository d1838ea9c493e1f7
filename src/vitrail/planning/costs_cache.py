"""Cache of the costs of models: there are a few hundred, and each is built on the meta device to be counted."""

import hashlib
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
    """Counts by config, in one JSON file with a checksum; counts of another version of vitrail or PyTorch are not used.

    A damaged file is not used, and replaced. If it cannot be read or written, counts are kept in memory only.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "costs.json"
        self.stamp = f"vitrail {__version__}, torch {torch.__version__}"
        self.known: dict[str, list[int]] = {}
        self.new = False
        with suppress(OSError, ValueError, RecursionError):
            document = json.loads(self.path.read_bytes())
            if isinstance(document, dict) and document == self._document(document.get("counts")):
                self.known = document["counts"]

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
                json.dump(self._document(self.known), file)
            os.replace(file.name, self.path)

    def _document(self, counts: Any) -> dict[str, Any]:
        text = json.dumps([self.stamp, counts], sort_keys=True)
        return {"stamp": self.stamp, "counts": counts, "sha256": hashlib.sha256(text.encode()).hexdigest()}
