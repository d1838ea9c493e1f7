"""Folders of frames: a clip in image files of its own."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from .file_bytes import read_file

_MAGIC = b"vitrail frames\0"
_LENGTH = 8
"""Bytes of a length in joined frames."""


@dataclass(frozen=True, slots=True)
class FramesAt:
    """Location of a clip whose frames are image files in a folder.

    Attributes:
        folder: path of the folder.
        names: names of the files in it, in the order of the frames.
    """

    folder: str
    names: tuple[str, ...]

    def read(self) -> bytes:
        """Read all frames as one run of bytes, see `split_frames`."""
        parts = [_MAGIC]
        for name in self.names:
            data = read_file(os.path.join(self.folder, name))
            for part in (os.fsencode(name), data):
                parts += [len(part).to_bytes(_LENGTH, "big"), part]
        return b"".join(parts)

    def only(self, indices: Sequence[int]) -> "FramesAt":
        """The same clip with some of its frames."""
        return replace(self, names=tuple(self.names[index] for index in indices))

    def stamp(self) -> str:
        facts = [os.stat(os.path.join(self.folder, name)) for name in self.names]
        text = "|".join(
            f"{name}|{fact.st_size}|{fact.st_mtime_ns}" for name, fact in zip(self.names, facts, strict=True)
        )
        return f"{os.path.abspath(self.folder)}|{hashlib.blake2b(os.fsencode(text), digest_size=16).hexdigest()}"


def is_joined(data: bytes) -> bool:
    """Whether these are the bytes of a `FramesAt`."""
    return data.startswith(_MAGIC)


def split_frames(data: bytes) -> list[tuple[str, bytes]]:
    """(name, bytes) of the files that `FramesAt.read` joined."""
    parts = []
    place = len(_MAGIC)
    while place < len(data):
        start = place + _LENGTH
        place = start + int.from_bytes(data[place:start], "big")
        parts.append(data[start:place])
    return [(os.fsdecode(name), content) for name, content in zip(parts[::2], parts[1::2], strict=True)]


def missing_frames(names: Sequence[str]) -> list[str]:
    """Names of the frames that a numbered folder lacks between its first and last.

    The frames may have any distance, if most have the same: 0, 5, 10, 20 lacks 15. Names that differ in more than their
    last number have no order that could have gaps.

    Args:
        names: names of the files, in natural order.
    """
    found = [re.fullmatch(r"(.*?)(\d+)(\D*)", name) for name in names]
    numbered = [match for match in found if match]
    if len(numbered) < len(names) or len({(match[1], match[3]) for match in numbered}) > 1:
        return []
    numbers = [int(match[2]) for match in numbered]
    gaps = [after - before for before, after in pairwise(numbers)]
    if not gaps:
        return []
    step, times = Counter(gaps).most_common(1)[0]
    if step < 1 or 2 * times < len(gaps) or any(gap % step for gap in gaps):
        return []
    first, known = numbered[0], set(numbers)
    return [
        f"{first[1]}{number:0{len(first[2])}d}{first[3]}"
        for number in range(numbers[0], numbers[-1], step)
        if number not in known
    ]
