"""The data.yaml of YOLO's data sets: class names, and the images of each split."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import VitrailError
from ..plain import Unreadable, short
from .annotated import check_names, count_images
from .annotation_text import read_text, read_yaml
from .class_lists import names_of
from .folder_source import files_below, is_image
from .samples import SPLIT_WORDS, Split

_MOST_FILES = 20
"""Number of YAML files of a folder that are read to find the one of YOLO."""
_MOST_CLASSES = 100_000


@dataclass(frozen=True, slots=True)
class DataYaml:
    """A data.yaml.

    Attributes:
        names: names of the classes.
        images: paths of the images, relative to its folder, with their splits.
        keypoints: whether points follow the box in each line.
        notes: sentences about what was inferred.
    """

    names: tuple[str, ...]
    images: tuple[tuple[str, Split | None], ...]
    keypoints: bool
    notes: tuple[str, ...]


def find_data_yaml(root: Path) -> Path | None:
    """Return the data.yaml of a folder, whatever its name; None if there is none."""
    files = sorted((p for p in root.iterdir() if p.suffix.lower() in (".yaml", ".yml") and p.is_file()), key=_by_name)
    for path in files[:_MOST_FILES]:
        try:
            if _is_yolo(read_yaml(path)):
                return path
        except (Unreadable, OSError):
            if path.stem.lower() == "data":
                return path  # reading it again names the line
    return None


def read_data_yaml(path: Path) -> DataYaml:
    """Read a data.yaml with `train`, `val`, `test` (folders, or texts of paths), `path`, `names`, `nc`.

    Raises:
        VitrailError: not YAML, no names, or nothing that it names exists.
    """
    try:
        content = read_yaml(path)
    except Unreadable as error:
        raise VitrailError(f"{path} cannot be read: {error}") from None
    if not _is_yolo(content):
        raise VitrailError(f"{path} is not a data.yaml of YOLO: it has no names, or neither train nor val")
    notes = [f"class names from {path.name}"]
    count = content.get("nc")
    names = names_of(content.get("names"))
    if names is None and content.get("names") is not None:
        shown = short(content["names"])
        raise VitrailError(f"the names in {path} are {shown}: write a list, or numbers from 0 on with a name each")
    if names is None and type(count) is int and 0 < count < _MOST_CLASSES:
        names = [str(number) for number in range(count)]
    names = names or []
    check_names(names, str(path))
    if type(count) is int and count != len(names):
        notes.append(f"nc is {count}, but names has {len(names)}: nc is not used")
    images, more = _stated_images(path, content)
    return DataYaml(tuple(names), tuple(images), "kpt_shape" in content, (*notes, *more))


def _by_name(path: Path) -> tuple[bool, str]:
    return path.stem.lower() not in ("data", "dataset"), path.name


def _is_yolo(content: Any) -> bool:
    if not isinstance(content, dict):
        return False
    return bool({"names", "nc"} & content.keys()) and bool({"train", "val"} & content.keys())


def _stated_images(path: Path, content: dict[str, Any]) -> tuple[list[tuple[str, Split | None]], list[str]]:
    """(path relative to the folder of the data.yaml, split) of all images that it names; and notes."""
    found: dict[str, Split | None] = {}
    notes = []
    for key in dict.fromkeys(key for key in content if isinstance(key, str) and key.lower() in SPLIT_WORDS):
        stated = content[key] if isinstance(content[key], list) else [content[key]]
        twice = 0
        for value in stated:
            if not isinstance(value, str) or not value.strip():
                continue
            place = _resolve(path.parent, content.get("path"), value)
            if place is None:
                notes.append(f"{key} of {path.name} is {value}, which does not exist")
                continue
            for image in _images_at(place, path.parent):
                twice += image in found
                found.setdefault(image, SPLIT_WORDS[key.lower()])
        if twice:
            is_ = "is" if twice == 1 else "are"
            notes.append(
                f"{count_images(twice)} of {key} {is_} in another split of {path.name} too, and {is_} used there only"
            )
    if not found:
        raise VitrailError(f"{path} names no image that exists" + (f" ({notes[0]})" if notes else ""))
    return list(found.items()), notes


def _resolve(folder: Path, base: Any, value: str) -> Path | None:
    """The folder or text that a data.yaml names: relative to its `path`, or to itself, also without leading `../`."""
    value = value.strip().replace("\\", "/")
    stripped = value
    while stripped.startswith(("../", "./")):
        stripped = stripped.partition("/")[2]
    tail = "/".join(part for part in value.split("/") if part not in ("", "..", ".", "~"))
    bases = [folder / str(base), folder] if isinstance(base, str) and base else [folder]
    places = [place / name for place in bases for name in (value, stripped)]
    places += [folder / end for end in _ends(tail)]
    return next((place for place in places if place.exists()), None)


def _ends(path: str) -> Iterator[str]:
    """`a/b/c`, `b/c`, `c`: paths of another machine end like those here."""
    while path:
        yield path
        path = path.partition("/")[2]


def _images_at(place: Path, root: Path) -> Iterator[str]:
    """Images of a folder, or those that a text lists, relative to `root`."""
    if place.is_dir():
        prefix = os.path.relpath(place, root)
        paths = (os.path.join(prefix, path) for path in files_below(place) if is_image(os.path.basename(path)))
        yield from map(os.path.normpath, paths)
        return
    if is_image(place.name):
        yield os.path.relpath(place, root)
        return
    try:
        lines = read_text(place, 2**28).splitlines()
    except Unreadable as error:
        raise VitrailError(f"{place} cannot be read: {error}") from None
    for line in filter(None, map(str.strip, lines)):
        found = next((path for path in (place.parent / line, root / line) if path.exists()), None)
        found = found or _resolve(root, None, line)
        yield os.path.normpath(os.path.relpath(found, root) if found else line.replace("\\", "/"))
