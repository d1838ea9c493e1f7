"""Source, its samples with the locations of their bytes, and bad files."""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import PurePath
from typing import Any, Literal, Protocol

import numpy as np

from ..errors import VitrailError
from ..task_spec import CLASSIFICATION, TaskSpec
from .file_bytes import read_file

Split = Literal["train", "val", "test"]
LabelKind = Literal["classes", "numbers", "boxes", "maps", "texts", "several"]

SPLIT_WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Name of a split in folders, shards and CSV columns, in lower case -> split."""


class Location(Protocol):
    """Location of the bytes of one image."""

    def read(self) -> bytes:
        """Read the bytes of the image file. Raises OSError."""

    def stamp(self) -> str | None:
        """Path, size and modification time as one string, the key of the survey's cache. None: not cached."""


def _absolute(path: str) -> str:
    """Absolute path without os.path.abspath, whose normalisation takes longer than os.stat."""
    return path if os.path.isabs(path) else os.path.join(os.getcwd(), path)


@dataclass(frozen=True, slots=True)
class FileAt:
    """Location of an image in its own file."""

    path: str

    def read(self) -> bytes:
        return read_file(self.path)

    def stamp(self) -> str:
        facts = os.stat(self.path)
        return f"{_absolute(self.path)}|{facts.st_size}|{facts.st_mtime_ns}"


@dataclass(frozen=True, slots=True)
class MemberAt:
    """Location of a member of an uncompressed archive: `size` bytes from `offset`."""

    path: str
    offset: int
    size: int

    def read(self) -> bytes:
        return read_file(self.path, offset=self.offset, size=self.size)

    def stamp(self) -> str:
        facts = os.stat(self.path)
        return f"{_absolute(self.path)}|{facts.st_size}|{facts.st_mtime_ns}|{self.offset}|{self.size}"


@dataclass(frozen=True, slots=True, eq=False)
class RowAt:
    """Location of image `array[index]` of an array in memory, read as the bytes of a `.npy` file."""

    array: np.ndarray = field(repr=False)
    index: int

    def read(self) -> bytes:
        file = BytesIO()
        np.save(file, self.array[self.index], allow_pickle=False)
        return file.getvalue()

    def stamp(self) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a source.

    Attributes:
        name: name for the user: path relative to the source or as in the CSV, "digits/17" or "shard.tar/key".
        labels: labels for the source's task: for classification indices into `class_names` (one, or any number if
            there may be many), for regression a number for each name, for detection a `Box` for each object, for
            dense tasks one `MapLabel`, see `annotations`, for images with texts their captions. Empty in a source
            without labels.
        split: split that the source assigns it to; None if the source has no splits.
        location: location of its bytes.
        strict: whether damage that decoders pass over makes it a bad file, see `vitrail.data.decode`.
        annotated_size: (height, width) of the image, in pixels, that boxes or maps were made for; None if they do not
            state it. An image of another size has other contents.
        clip: whether it is a clip of several frames, see `vitrail.data.clips`, and not an image.
    """

    name: str
    labels: tuple[Any, ...]
    split: Split | None
    location: Location
    strict: bool = True
    annotated_size: tuple[int, int] | None = None
    clip: bool = False


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file that cannot be used, with the reason."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Source:
    """Images with their labels.

    Attributes:
        name: name as the user gave it.
        class_names: names of the classes or numbers, in natural order (2 before 10) unless the source has its own
            order.
        samples: the usable images; not decoded yet.
        task: task of the labels, such as one of several classes, or any number of classes.
        bad: files that cannot be used, with the reason.
        label_kind: whether labels are indices into `class_names`, a number for each name, boxes, maps or texts, or
            (task, labels) pairs of several tasks.
        notes: sentences about what was inferred, such as the task and the columns.
    """

    name: str
    class_names: tuple[str, ...]
    samples: tuple[Sample, ...]
    task: TaskSpec = CLASSIFICATION
    bad: tuple[BadFile, ...] = ()
    label_kind: LabelKind = "classes"
    notes: tuple[str, ...] = ()

    def describe(self, labels: tuple[Any, ...]) -> str:
        """Describe the labels of a sample: "cat, dog", "temperature 2.5, humidity 0.3", or "no label"."""
        if self.label_kind == "numbers":
            pairs = zip(self.class_names, labels, strict=False)
            return ", ".join(f"{name} {value:g}" for name, value in pairs) or "no label"
        if self.label_kind == "boxes":
            counts = Counter(self.class_names[box.label] for box in labels)
            return ", ".join(f"{count} {name}" for name, count in counts.items()) or "no object"
        if self.label_kind == "maps":
            return "a map" if labels else "no map"
        if self.label_kind == "several":
            return ", ".join(name for name, _ in labels)
        if self.label_kind == "texts":
            return " | ".join(labels) or "no caption"
        return ", ".join(self.class_names[i] for i in labels) or "no class"


def takes_many(task: TaskSpec) -> bool:
    """Whether a task is classification with any number of classes for each image."""
    return dict(task.options).get("labels") == "many"


def natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sort key with numbers by value and letters without case: class2 < class10, a < B."""
    parts = re.split(r"(\d+)", name.casefold())
    # Not isdigit: ² and ① are digits, but no numbers.
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts if part], name


def normal(text: str) -> str:
    """Normalise a name of a class: composed Unicode (macOS writes file names decomposed), one line, no outer spaces.

    It is `printable`, so that it can be written to every kind of file.
    """
    return printable(unicodedata.normalize("NFC", text).strip(_OUTER))


def printable(text: str) -> str:
    r"""Replace control characters, and bytes that are not UTF-8, by escapes such as \r and \xff."""
    return _UNWRITABLE.sub(lambda found: _escape(found[0]), text)


_OUTER = "".join(c for c in map(chr, range(0x3001)) if c.isspace()) + "\u200b\u200e\u200f\u2060\ufeff"
"""Spaces, and what has no width: a class that was copied from a web page would be another one."""
_UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte of a file's name, as Python reads it
        return f"\\x{ord(character) - 0xDC00:02x}"
    return ascii(character)[1:-1]


def order_classes(names: Iterable[str], source: str) -> tuple[str, ...]:
    """Return the distinct class names in natural order; names that differ only in case raise VitrailError."""
    by_case = defaultdict(set)
    for name in names:
        by_case[name.casefold()].add(name)
    for same in by_case.values():
        if len(same) > 1:
            pair = " and ".join(sorted(same))
            raise VitrailError(f"the classes {pair} of {source} differ only in case: give them one spelling")
    return tuple(sorted({name for same in by_case.values() for name in same}, key=natural))


def short_names(names: Sequence[str]) -> list[str]:
    """Short names for display: the last parts of paths if these differ, else the paths without their common folders."""
    last = [PurePath(name).name or name for name in names]
    if len(set(last)) == len(last):
        return last
    parts = [PurePath(name).parts for name in names]
    shared = next((depth for depth, level in enumerate(zip(*parts, strict=False)) if len(set(level)) > 1), 0)
    return [str(PurePath(*part[shared:])) for part in parts]
