"""Parses the JSON of COCO's data sets: images, categories and annotations, each checked for its form."""

import mmap
import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..errors import VitrailError
from ..plain import Unreadable, short
from .annotation_text import finite, read_large_json
from .samples import BadFile, normal

CocoKind = Literal["objects", "captions"]


@dataclass(slots=True)
class CocoImage:
    """An image of a COCO JSON.

    Attributes:
        name: its `file_name`.
        size: height and width; None if they are not stated.
        annotations: its annotations, not checked, each with its place in the JSON from 1 on.
        problem: what is wrong with its entry, or "".
    """

    name: str
    size: tuple[int, int] | None
    annotations: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class CocoFile:
    """A COCO JSON.

    Attributes:
        path: its path.
        images: its images, in its order.
        categories: id -> name, by ascending ids.
        bad: annotations of no image, and images without a name.
        empty: names of categories that only group others.
    """

    path: Path
    images: tuple[CocoImage, ...]
    categories: dict[Any, str]
    bad: tuple[BadFile, ...]
    empty: tuple[str, ...] = ()


def coco_kind(path: Path) -> CocoKind | None:
    """What a JSON has by the keys that occur in it, without parsing it: objects, captions, or None of COCO's."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return None
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                if data[:256].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"{":
                    return None
                if data.find(b'"images"') < 0 or data.find(b'"annotations"') < 0:
                    return None
                has_objects = data.find(b'"bbox"') >= 0 or data.find(b'"segmentation"') >= 0
                return "captions" if not has_objects and data.find(b'"caption"') >= 0 else "objects"
    except (OSError, ValueError):
        return None


def read_coco(path: Path) -> CocoFile:
    """Read a COCO JSON.

    Raises:
        VitrailError: not JSON, or without its lists; categories without id or name, or with the same one.
    """
    try:
        content = read_large_json(path)
    except Unreadable as error:
        raise VitrailError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise VitrailError(f"{path} is not a COCO JSON: it is no object with images and annotations")
    listed: dict[str, list[Any]] = {}
    for key in ("images", "annotations", "categories"):
        value = content.get(key, [] if key == "categories" else None)
        if not isinstance(value, list):
            raise VitrailError(f"{path} is not a COCO JSON: its {key!r} is no list")
        listed[key] = value
    categories, groups = _categories(path, listed["categories"])
    images, by_id, bad = _images(listed["images"])
    bad += _add_annotations(listed["annotations"], by_id)
    entries = (entry for image in images for _, entry in image.annotations) if groups else ()
    used = {entry["category_id"] for entry in entries if _is_id(entry.get("category_id"))}
    empty = tuple(name for key, name in categories.items() if name in groups and key not in used)
    kept = {key: name for key, name in categories.items() if name not in empty}
    return CocoFile(path, tuple(images), kept, tuple(bad), empty)


def _categories(path: Path, entries: list[Any]) -> tuple[dict[Any, str], set[str]]:
    """Names by id, and the names of groups of others."""
    found: dict[Any, str] = {}
    groups: set[str] = set()
    for place, entry in enumerate(entries):
        key = entry.get("id") if isinstance(entry, dict) else None
        name = entry.get("name") if isinstance(entry, dict) else None
        if not _is_id(key) or not isinstance(name, str) or not normal(name):
            raise VitrailError(
                f"category {place + 1} of {path} is {short(entry)}: it needs an id, and a name that is text"
            )
        if key in found:
            raise VitrailError(f"two categories of {path} have the id {short(key)}: give each an id of its own")
        found[key] = normal(name)
        if isinstance(group := entry.get("supercategory"), str) and normal(group) != normal(name):
            groups.add(normal(group))
    return dict(sorted(found.items(), key=lambda item: (isinstance(item[0], str), item[0]))), groups


def _images(entries: list[Any]) -> tuple[list[CocoImage], dict[Any, CocoImage], list[BadFile]]:
    """All images, those by id, and entries without a name."""
    images: list[CocoImage] = []
    by_id: dict[Any, CocoImage] = {}
    names: dict[str, CocoImage] = {}
    bad: list[BadFile] = []
    for place, entry in enumerate(entries, 1):
        name = entry.get("file_name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name.strip():
            what = "it has no file_name" if name is None else f"its file_name is {short(name)}, not text"
            bad.append(BadFile(f"image {place} of the JSON", what))
            continue
        image, key = CocoImage(name, _size(entry)), entry.get("id")
        images.append(image)
        if not _is_id(key):
            image.problem = f"its id in the JSON is {short(key)}, which is neither a number nor text"
        elif (other := by_id.setdefault(key, image)) is not image:
            image.problem = f"its id {short(key)} is that of {other.name} too"
            other.problem = other.problem or f"its id {short(key)} is that of {name} too"
        if (other := names.setdefault(name, image)) is not image:
            image.problem = image.problem or "it is in the JSON twice"
            other.problem = other.problem or "it is in the JSON twice"
    return images, by_id, bad


def _add_annotations(entries: list[Any], by_id: dict[Any, CocoImage]) -> list[BadFile]:
    """Add each annotation to its image; those without one are returned."""
    bad: list[BadFile] = []
    lost: dict[Any, list[str]] = defaultdict(list)
    by_text = {_id_text(key): image for key, image in by_id.items()}
    if len(by_text) < len(by_id):  # a number and the same text are two images
        by_text = {}
    for place, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            bad.append(BadFile(f"annotation {place} of the JSON", f"it is {short(entry)}, not an object"))
            continue
        key = entry.get("image_id")
        image = by_id.get(key, by_text.get(_id_text(key))) if _is_id(key) else None
        if image is None:
            lost[key if _is_id(key) else short(key)].append(annotation_name(place, entry))
        else:
            image.annotations.append((place, entry))
    for key, names in lost.items():
        more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        bad.append(BadFile(f"{names[0]}{more}", f"no image of the JSON has the id {short(key)}"))
    return bad


def _size(entry: dict[str, Any]) -> tuple[int, int] | None:
    height, width = finite(entry.get("height")), finite(entry.get("width"))
    if height is None or width is None or height < 1 or width < 1:
        return None
    return int(height), int(width)


def annotation_name(place: int, entry: dict[str, Any]) -> str:
    """Name of an annotation in messages: its id, or its place in the JSON."""
    own = entry.get("id")
    return f"annotation {own}"[:60] if _is_id(own) else f"annotation {place} in the JSON"


def _id_text(key: Any) -> str:
    """An id as text: some tools write the ids of images as numbers, and those of their annotations as text."""
    return key if isinstance(key, str) else str(int(key))


def _is_id(value: Any) -> bool:
    if type(value) is int:
        return True
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, str)
