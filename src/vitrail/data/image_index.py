"""Finds the images that annotations name: by the end of their path, wherever in a folder they lie."""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from .folder_source import files_below, is_image
from .map_names import composed, is_map_folder

_ABSOLUTE = re.compile(r"^([A-Za-z]:/|/|\.\./|https?://)")


class ImageIndex:
    """The images of a folder at any depth.

    Args:
        root: the folder.

    Attributes:
        root: the folder.
        paths: paths of the images, relative to it.
    """

    def __init__(self, root: Path):
        self.root = root
        self.paths = [path for path in files_below(root) if is_image(os.path.basename(path))]
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for path in self.paths:
            name = composed(os.path.basename(path))
            self._by_name[name].append(path)
            if not is_map_folder(os.path.dirname(path)):
                self._by_stem[os.path.splitext(name)[0]].append(path)

    def full(self, path: str) -> str:
        """A path of the index with the folder before it."""
        return os.path.join(self.root, path)

    def of_stem(self, stem: str, folder: str = "", words: Sequence[str] = ()) -> tuple[str, str]:
        """Find the image with a name apart from its suffix.

        Args:
            stem: the name without suffix.
            folder: folder of the annotations: an image beside them, or with most folders in common, is preferred.
            words: see `find`.

        Returns:
            path: its path relative to `root`; "" if there is none, or several are equally near.
            problem: what is wrong if there is none, as a clause.
        """
        hits = self._by_stem.get(composed(stem), [])
        if len(hits) <= 1:
            return (hits[0], "") if hits else ("", self._no_image(stem))
        ours = folder.split(os.sep)
        folders = [path.split(os.sep)[:-1] for path in hits]
        ranks = [
            (any(part in words for part in parts), os.sep.join(parts) == folder, _shared(ours, parts))
            for parts in folders
        ]
        best = [path for path, rank in zip(hits, ranks, strict=True) if rank == max(ranks)]
        return _only(best)

    def find(self, name: str, folder: str = "", words: Sequence[str] = ()) -> tuple[str, str]:
        """Find an image by the name that annotations give it.

        A relative name is the end of the image's path. Of an absolute one (also of Windows, or of a web page), which
        is usually of another machine, only the end must be the same, and the longest one counts.

        Args:
            name: the name, with slashes or backslashes.
            folder: folder of the annotations, relative to `root`.
            words: words such as "train2017": of images of the same name, those in such a folder are preferred.

        Returns:
            path: path of the image relative to `root`; "" if there is none.
            problem: what is wrong if there is none, as a clause.
        """
        asked = composed(name.strip().replace("\\", "/"))
        if os.path.isabs(name) and os.path.isfile(name) and is_image(os.path.basename(name)):
            return name, ""
        is_absolute = _ABSOLUTE.match(asked) is not None
        wanted = [part for part in asked.split("/") if part not in ("", ".", "..")]
        hits = self._by_name.get(wanted[-1], []) if wanted else []
        if not hits:
            return "", self._no_image(wanted[-1] if wanted else "")
        lengths = [_common_end(wanted, path) for path in hits]
        if not is_absolute and max(lengths) < len(wanted):
            return "", f"no such image, only {hits[lengths.index(max(lengths))]}"
        ranks = [(length, *_nearness(path, folder, words, asked)) for path, length in zip(hits, lengths, strict=True)]
        best = [path for path, rank in zip(hits, ranks, strict=True) if rank == max(ranks)]
        return _only(best)

    def _no_image(self, name: str) -> str:
        """A clause, with the first image whose name differs only in case, in its suffix or in zeros before a number."""
        alike = self._alike.get(_plain(name), "")
        return f"no such image, only {alike}" if alike else "no such image"

    @cached_property
    def _alike(self) -> dict[str, str]:
        return {_plain(os.path.basename(path)): path for path in reversed(self.paths)}


def _only(paths: Sequence[str]) -> tuple[str, str]:
    return (paths[0], "") if len(paths) == 1 else ("", f"two images of this name: {paths[0]} and {paths[1]}")


def _plain(name: str) -> str:
    stem = os.path.splitext(name)[0] if is_image(name) else name
    return composed(stem).casefold().lstrip("0")


def _nearness(path: str, folder: str, words: Sequence[str], asked: str) -> tuple[bool, ...]:
    parts = path.split(os.sep)[:-1]
    inside = not folder or path.startswith(folder + os.sep)
    return (
        not is_map_folder(os.path.dirname(path)),
        path == os.path.join(folder, asked),
        any(part in words for part in parts),
        bool(folder) and inside,
        path == asked,
    )


def _shared(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """Number of folders that two paths have in common, wherever."""
    return sum(part in theirs for part in ours)


def _common_end(wanted: Sequence[str], path: str) -> int:
    """Number of parts at the end that are the same."""
    count = 0
    for ours, theirs in zip(reversed(wanted), reversed(composed(path).split("/")), strict=False):
        if ours != theirs:
            break
        count += 1
    return count
