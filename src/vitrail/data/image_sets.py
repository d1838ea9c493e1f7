"""Lists of the images of each split in `ImageSets`, as Pascal VOC has them."""

import os
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from ..errors import VitrailError
from ..plain import Unreadable
from .annotated import some
from .annotation_text import read_text
from .folder_source import subfolders
from .samples import SPLIT_WORDS, Split

_LISTS = ("train.txt", "val.txt", "test.txt", "trainval.txt")
"""The others are of one class each."""


def read_image_sets(root: Path, kind: str) -> dict[str, Split | None]:
    """Read {image: split} from ImageSets/KIND/; empty without it.

    Args:
        root: the folder that has ImageSets, or a folder that has it.
        kind: "Main" or "Segmentation".

    Raises:
        VitrailError: a list is not text.
    """
    found: dict[str, Split | None] = {}
    for folder in (root / "ImageSets" / kind, *(root / name / "ImageSets" / kind for name in subfolders(root))):
        for name in _LISTS:
            if not (folder / name).is_file():
                continue
            try:
                lines = read_text(folder / name).splitlines()
            except Unreadable as error:
                raise VitrailError(f"{folder / name} cannot be read: {error}") from None
            for line in filter(None, map(str.strip, lines)):
                found.setdefault(line.split()[0], SPLIT_WORDS.get(name.removesuffix(".txt")))
    if None in found.values() and set(found.values()) != {None}:  # trainval beside test, without train
        found = {name: split or "train" for name, split in found.items()}
    return found


def described(lists: dict[str, Split | None], kind: str, stems: Collection[str]) -> list[str]:
    """Return notes on the lists: the number of images of each split, and the names that no file has.

    Args:
        lists: image -> split.
        kind: as for `read_image_sets`.
        stems: names without suffix of the files that can be used.
    """
    where = f"ImageSets/{kind}"
    counts = Counter(split or "trainval" for name, split in lists.items() if name in stems)
    notes = [f"images and splits from {where}: {', '.join(f'{count:,} {split}' for split, count in counts.items())}"]
    if absent := [name for name in lists if name not in stems]:
        notes.append(f"{len(absent):,} of {len(lists):,} names in {where} have no file: {some(absent)}")
    return notes


def stem_of(path: str) -> str:
    """The name of a file without its suffix, as the lists have it."""
    return os.path.splitext(os.path.basename(path))[0]
