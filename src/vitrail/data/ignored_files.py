"""What is in class folders and is not used, for the notes of a source."""

import os
from collections import Counter
from collections.abc import Sequence

from .samples import normal
from .video_file import VIDEO_SUFFIXES

_COMPANIONS = frozenset(
    f".{suffix}"
    for line in (
        "txt md rst html htm pdf nfo url log json jsonl xml csv tsv yaml yml ini xmp aae db",
        "py sh zip tar gz tgz bz2 xz zst 7z rar mat npz pkl pt md5 sha1 sha256",
    )
    for suffix in line.split()
)
"""Suffixes of files that are often beside images and are ignored without a note."""
_COMPANION_NAMES = frozenset(
    ["readme", "license", "licence", "copying", "notice", "authors", "changelog", "makefile", "icon\r"]
)


class IgnoredFiles:
    """Files in class folders that do not count as images, by suffix, and folders without an image.

    Attributes:
        empty: folders without an image.
        maps: images that are maps of others.
        doubtful: images that are named as maps of others, where most others have none.
        suffixes: number of other files of each suffix.
        example: one of them.
    """

    def __init__(self) -> None:
        self.empty: list[str] = []
        self.maps: list[str] = []
        self.doubtful: list[str] = []
        self.suffixes: Counter[str] = Counter()
        self.example = ""

    def add(self, folder: str, others: Sequence[str], maps: Sequence[str], *, is_empty: bool) -> None:
        """Count the files of one class folder that are no images, or maps of others; `is_empty` if it has no image."""
        if is_empty:
            self.empty.append(folder)
        self.maps += [os.path.join(folder, path) for path in maps]
        for path in others:
            base = os.path.basename(path)
            suffix = os.path.splitext(base)[1].lower()
            if base.startswith(".") or suffix in _COMPANIONS or base.lower() in _COMPANION_NAMES:
                continue
            self.suffixes[suffix] += 1
            self.example = self.example or os.path.join(folder, path)

    def notes(self) -> tuple[str, ...]:
        """Sentences about what is ignored."""
        notes = []
        if self.maps:
            count = f"{len(self.maps):,} of the images are maps" if len(self.maps) > 1 else "one of the images is a map"
            notes.append(f"{count} of others beside them, such as {normal(self.maps[0])}, and not used as images")
        if self.doubtful:
            count = f"{len(self.doubtful):,} images are" if len(self.doubtful) > 1 else "one image is"
            notes.append(
                f"{count} named as a map of another beside it, such as {normal(self.doubtful[0])}, and used as an "
                "image, because most images have no map: move maps out of the class folders"
            )
        if self.empty:
            some = ", ".join(map(normal, self.empty[:5])) + f" and {len(self.empty) - 5} more" * (len(self.empty) > 5)
            notes.append(
                f"no image in {some}: {'these folders are' if len(self.empty) > 1 else 'this folder is'} ignored"
            )
        if self.suffixes:
            kinds = ", ".join(f"{n} {suffix or 'without a suffix'}" for suffix, n in self.suffixes.most_common(5))
            notes.append(
                f"files in class folders whose suffix is none of an image are ignored: {normal(kinds)}, such as "
                f"{normal(self.example)}; rename or convert those that are images"
            )
        if VIDEO_SUFFIXES & set(self.suffixes):
            notes.append("some of them are videos: --task video takes them, and folders of frames, as clips")
        return tuple(notes)
