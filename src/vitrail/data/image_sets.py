"""Lists of the images of each split in `ImageSets`, as Pascal VOC has them."""

from collections import Counter
from pathlib import Path

from ..errors import VitrailError
from ..plain import Unreadable
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


def count_splits(lists: dict[str, Split | None]) -> str:
    """Return the number of images of each split: "80 train, 20 val"."""
    return ", ".join(f"{count:,} {split or 'trainval'}" for split, count in Counter(lists.values()).items())
