"""Chooses the part of a source that a command uses: its own, or that of a run."""

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from ..errors import VitrailError, nearest
from .decode import BadImage
from .facts_cache import digest
from .open import read_bytes
from .samples import Sample, Source

SplitChoice = Literal["auto", "train", "val", "test", "all"]
"""A part of a source by name; "all" of it; or "auto": test, else val, else every image that a run did not train on."""


def choose_split(source: Source, split: SplitChoice, run: Path | None = None) -> Source:
    """Return the source with the samples of one part only.

    If the source has no such part, it is the part of the run, whose images are recognised by content. Files are then
    read, and those that cannot be read count as new to the run.

    Args:
        source: the source.
        split: the part.
        run: path of a checkpoint; a run folder lists the parts of its images in splits.csv.

    Raises:
        VitrailError: unknown part, or no image is in it.
    """
    if split not in get_args(SplitChoice):
        raise VitrailError(f"there is no split {split!r}: {nearest(split, get_args(SplitChoice))}")
    if split == "all":
        return source
    own = {sample.split for sample in source.samples}
    name = next((part for part in ("test", "val") if part in own), split) if split == "auto" else split
    if name in own:
        return replace(source, samples=tuple(sample for sample in source.samples if sample.split == name))
    recorded = recorded_splits(run) if run is not None and run.exists() else None
    if recorded is None and name == "auto":
        return source
    parts = [_recorded_part(sample, recorded or {}) for sample in source.samples]
    # A run chose its best checkpoint by the validation part, which is therefore no test where there is one.
    seen = ("train", "val") if "test" in parts else ("train",)
    kept = tuple(
        sample
        for sample, part in zip(source.samples, parts, strict=True)
        if part == name or (name == "auto" and part not in seen)
    )
    if not kept:
        raise VitrailError(f"no image of {source.name} is in the {name} part: use --split all")
    return replace(source, samples=kept)


def recorded_splits(checkpoint: Path) -> dict[str, str] | None:
    """{content hash: split} of the run that a checkpoint belongs to; None if it belongs to no run."""
    rows = _recorded(checkpoint)
    return None if rows is None else {row["digest"]: row["split"] for row in rows}


def used_labels(checkpoint: Path) -> bool:
    """Whether a checkpoint belongs to a run on labelled images; a pre-training without labels records none."""
    return any(row.get("label") for row in _recorded(checkpoint) or [])


def _recorded(checkpoint: Path) -> list[dict[str, str]] | None:
    """Rows of the splits.csv of the run that a checkpoint belongs to."""
    # RUN itself, RUN/checkpoints/best, or a file in that folder.
    for folder in (checkpoint, *checkpoint.absolute().parents[:3]):
        table = folder / "splits.csv"
        if table.is_file():
            with table.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
                return list(csv.DictReader(file))
    return None


def _recorded_part(sample: Sample, recorded: Mapping[str, str]) -> str:
    try:
        return recorded.get(digest(read_bytes(sample)), "new")
    except BadImage:
        return "new"
