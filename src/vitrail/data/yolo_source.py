"""YOLO's folders: a text with boxes or polygons for each image, with or without a data.yaml."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import VitrailError
from ..machine.garbage import collection_paused
from ..plain import Unreadable
from ..task_spec import TaskSpec
from .annotated import DETECTION, SEGMENTATION, Annotated, count_images, joined, make_source, task_note, with_background
from .annotation_text import read_text
from .class_lists import find_class_list
from .folder_source import files_below, is_image, subfolders
from .map_folders import split_in
from .regions import RegionMap
from .samples import BadFile, FileAt, Source, Split
from .yolo_lines import highest_class, is_number, read_lines
from .yolo_yaml import find_data_yaml, read_data_yaml

TASKS = ("detection", "segmentation")

_IMAGE_FOLDERS = ("images", "jpegimages", "image", "imgs", "img")
_PEEK = 20
"""Number of texts that are opened to find out whether they are YOLO's."""
_LISTS = frozenset(
    ("classes.txt", "names.txt", "labels.txt", "class_names.txt", "train.txt", "val.txt", "valid.txt", "test.txt")
)
"""Texts that are not the labels of an image."""


def matches(root: Path, task: TaskSpec | None) -> bool:
    """Whether a folder has a data.yaml of YOLO, or texts with boxes beside images or in `labels` folders."""
    return find_data_yaml(root) is not None or _has_labels(root)


def open_folder(root: Path, labelled: bool, task: TaskSpec | None) -> Source:
    """Open a folder in YOLO's form."""
    if (found := find_data_yaml(root)) is not None:
        return _open_yaml(str(root), found, labelled, task)
    images = [(path, split_in(os.path.dirname(path))) for path in files_below(root) if is_image(os.path.basename(path))]
    listed = find_class_list(root, root / "labels")
    notes = [f"class names from {listed.file}"] if listed else ["the numbers of the classes are their names"]
    return _Reader(str(root), root, labelled, task).read(images, listed.names if listed else None, notes)


def yolo_yaml(path: Path, labelled: bool, task: TaskSpec | None) -> Source:
    """Open a data.yaml of YOLO, see `read_data_yaml`.

    Raises:
        VitrailError: it cannot be read, or there is no usable image.
    """
    return _open_yaml(str(path), path, labelled, task)


def _open_yaml(name: str, path: Path, labelled: bool, task: TaskSpec | None) -> Source:
    stated = read_data_yaml(path)
    reader = _Reader(name, path.parent, labelled, task, stated.keypoints)
    return reader.read(stated.images, stated.names, stated.notes)


def _has_labels(root: Path) -> bool:
    """Whether texts in `labels` folders, or beside images, have YOLO's lines."""
    return any(
        _are_labels(texts) for place in (root, *(root / name for name in subfolders(root))) for texts in _texts(place)
    )


def _texts(place: Path) -> Iterator[Iterable[Path]]:
    """Texts in the folder `labels` of a folder, and those that are named as an image beside them."""
    names = {entry.name for entry in os.scandir(place)}
    if (place / "labels").is_dir():
        yield (place / "labels" / path for path in files_below(place / "labels") if path.lower().endswith(".txt"))
    stems = {os.path.splitext(name)[0] for name in names if is_image(name)}
    yield (place / name for name in sorted(names) if name.lower().endswith(".txt") and name[:-4] in stems)


def _are_labels(texts: Iterable[Path]) -> bool:
    """Whether the first text that is not empty has numbers, at least five in a line."""
    candidates = (path for path in texts if path.name.lower() not in _LISTS)
    for _, path in zip(range(_PEEK), candidates, strict=False):
        try:
            line = next((line for line in read_text(path).splitlines() if line.strip()), "")
        except (Unreadable, OSError):
            continue
        if line:
            return len(line.split()) >= 5 and all(map(is_number, line.split()))
    return False


class _Texts:
    """Finds the text of each image: in `labels` in place of `images` in its path, or beside it."""

    def __init__(self, root: Path):
        self._root = root
        self._names: dict[str, dict[str, str]] = {}
        self._used: set[str] = set()

    def of(self, image: str) -> str | None:
        """Path of the text of an image, relative to the root; None if there is none."""
        folder, name = os.path.split(image)
        text = os.path.splitext(name)[0] + ".txt"
        parts = folder.split(os.sep)
        places = [
            os.sep.join([*parts[:place], "labels", *parts[place + 1 :]])
            for place in reversed(range(len(parts)))
            if parts[place].lower() in _IMAGE_FOLDERS
        ]
        for place in (*places, folder):
            if own := self._in(place).get(text):
                path = os.path.join(place, own)
                self._used.add(path)
                return path
        return None

    def left(self) -> list[str]:
        """Texts in the folders of labels that no image has."""
        folders = [place for place in self._names if "labels" in place.split(os.sep)]
        paths = (os.path.join(place, name) for place in folders for name in sorted(self._names[place].values()))
        return [path for path in paths if path not in self._used and os.path.basename(path).lower() not in _LISTS]

    def _in(self, place: str) -> dict[str, str]:
        """Texts of a folder: name with .txt -> name, which may end in .TXT."""
        if place not in self._names:
            try:
                names = os.listdir(self._root / place)
            except OSError:
                names = []
            self._names[place] = {name[:-4] + ".txt": name for name in sorted(names) if name.lower().endswith(".txt")}
        return self._names[place]


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the text of each image under `root`."""

    name: str
    root: Path
    labelled: bool
    task: TaskSpec | None
    keypoints: bool = False

    def read(
        self, images: Sequence[tuple[str, Split | None]], names: Sequence[str] | None, notes: Sequence[str]
    ) -> Source:
        """Read the texts of images; without names of the classes, their numbers are the names."""
        task = self.task or DETECTION
        regions = task.name == SEGMENTATION.name
        texts = _Texts(self.root)
        places = [texts.of(path) for path, _ in images] if self.labelled else []
        with collection_paused():
            contents = [self._content(place) for place in places]
        if self.labelled and not any(places):
            count = count_images(len(images))
            raise VitrailError(f"none of the {count} of {self.name} has a text of labels: put labels/ beside images/")
        if names is None:
            highest = max((highest_class(text) for text in contents if isinstance(text, str)), default=-1)
            names = [str(number) for number in range(highest + 1)]
        classes = with_background(names) if regions else list(names)
        index = {name: place for place, name in enumerate(classes)}
        numbers = [index[name] for name in names]
        found = (
            [
                self._annotated(path, split, place, content, numbers if regions else None, len(names))
                for (path, split), place, content in zip(images, places, contents, strict=True)
            ]
            if self.labelled
            else [Annotated(path, str(self.root / path), split) for path, split in images]
        )
        return make_source(
            self.name,
            found,
            class_names=classes,
            task=task,
            kind="maps" if regions else "boxes",
            bad=[BadFile(path, "no image of this name") for path in texts.left()],
            notes=[self._note(task, classes), *notes, *_without_text(images, places)],
        )

    def _content(self, place: str | None) -> str | Unreadable:
        """Text of the labels of an image, or why it cannot be read."""
        if place is None:
            return ""
        try:
            return read_text(os.path.join(self.root, place))
        except Unreadable as error:
            return error
        except OSError as error:
            return Unreadable(error.strerror or str(error))

    def _annotated(
        self,
        path: str,
        split: Split | None,
        place: str | None,
        content: str | Unreadable,
        regions: Sequence[int] | None,
        classes: int,
    ) -> Annotated:
        full = os.path.join(self.root, path)
        if not os.path.isfile(full):
            return Annotated(path, full, split, problems=("no such image",))
        if isinstance(content, Unreadable):
            return Annotated(path, full, split, problems=(f"{content} ({place})",))
        labels: tuple[Any, ...]
        labels, faults = read_lines(content, classes, regions=regions, keypoints=self.keypoints)
        if regions is not None:
            labels = (RegionMap.of(labels, None, fractions=True, location=FileAt(full)),)
        return Annotated(path, full, split, labels, problems=(f"{joined(faults)} ({place})",) if faults else ())

    def _note(self, task: TaskSpec, classes: Sequence[str]) -> str:
        if task.name == SEGMENTATION.name:
            return task_note(self.task, task, f"polygons of YOLO texts, the smaller in front; all else is {classes[0]}")
        return task_note(self.task, task, "boxes of YOLO texts")


def _without_text(images: Sequence[tuple[str, Split | None]], places: Sequence[str | None]) -> list[str]:
    missing = [path for (path, _), place in zip(images, places, strict=False) if place is None]
    have = "has" if len(missing) == 1 else "have"
    text = f"{count_images(len(missing))} {have} no text, so no object"
    return [f"{text}, such as {missing[0]}"] if missing else []
