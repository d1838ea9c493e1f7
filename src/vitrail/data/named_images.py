"""Finds the images that the rows of a table name."""

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from .folder_source import is_image
from .image_index import ImageIndex

_SOME = 3
"""Number of folders that a note names."""

_FLOAT_ID = re.compile(r"\d+\.0+")
"""A number as pandas writes a column of integers that has gaps: 7.0 is 7.jpg."""


class NamedImages:
    """The files that a table names by paths relative to its folder, or by names alone.

    If most names are not paths of files, the images are looked up by name in all folders below, with or without a
    suffix: `train.csv` may have the column `image_id`, and the images may be in `train_images/`.

    Args:
        base: folder of the table.
        names: the names in its rows.
        words: folders such as "train" in which images are preferred to others of the same name.
        folders: a path may also be a folder, which has the frames of a clip.

    Attributes:
        base: folder of the table.
    """

    def __init__(self, base: Path, names: Iterable[str], words: Sequence[str] = (), *, folders: bool = False) -> None:
        self.base = base
        self._exists = os.path.exists if folders else os.path.isfile
        self._words = words
        self._found_in: dict[str, None] = {}
        named = [name for name in map(str.strip, names) if name]
        paths = sum(bool(self._path(name)) for name in named)
        self._are_paths = 2 * paths >= len(named)

    def find(self, name: str) -> tuple[str, str]:
        """Find the file of a name.

        Args:
            name: a path, with slashes or backslashes, or a name.

        Returns:
            path: path of the file relative to `base`; the name itself if there is none.
            problem: what is wrong if there is none, as a clause.
        """
        if path := self._path(name):
            return path, ""
        name = name.replace("\\", "/")
        if self._are_paths:
            return name, "no such file"
        path, problem = self._in_folders(name)
        if not path and _FLOAT_ID.fullmatch(name):
            path, _ = self._in_folders(name.partition(".")[0])
        if not path:
            return name, problem.replace("no such image", "no such file")
        self._found_in[os.path.dirname(path)] = None
        return path, ""

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence about the folders in which images were found by their names alone."""
        folders = [folder or "." for folder in self._found_in]
        if not folders:
            return ()
        more = f" and {len(folders) - _SOME} more" if len(folders) > _SOME else ""
        return (f"the images are found by their names in {', '.join(folders[:_SOME])}{more}",)

    def _in_folders(self, name: str) -> tuple[str, str]:
        """Path and problem of an image that is named with or without its suffix."""
        path, problem = self._index.find(name, words=self._words)
        if not path and not is_image(name):
            return self._index.of_stem(os.path.basename(name), words=self._words)
        return path, problem

    def _path(self, name: str) -> str:
        """The name as the path of a file, in one from Windows with slashes; "" if it is none.

        An archive from macOS has decomposed names, where the table may have composed ones.
        """
        spellings = dict.fromkeys((name, name.replace("\\", "/")))
        if not name.isascii():
            spellings |= {unicodedata.normalize(form, one): None for form in ("NFC", "NFD") for one in spellings}
        return next((one for one in spellings if self._exists(os.path.join(self.base, one))), "")

    @cached_property
    def _index(self) -> ImageIndex:
        return ImageIndex(self.base)


def named_for(table: Path) -> tuple[str, ...]:
    """Names of folders that a table is named for: the images of train.csv are those in train/, not in test/."""
    return (table.stem, f"{table.stem}_images", f"{table.stem}-images")
