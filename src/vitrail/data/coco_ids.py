"""Ids of the images and categories of a COCO JSON, so that predictions for its images can be compared with it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..plain import Unreadable
from .annotation_text import read_large_json
from .coco_files import find_coco_files
from .coco_json import coco_kind


@dataclass(frozen=True, slots=True)
class CocoIds:
    """Ids of one COCO JSON.

    Attributes:
        images: `file_name` -> id.
        categories: name -> id.
    """

    images: Mapping[str, Any]
    categories: Mapping[str, Any]

    def image(self, name: str) -> Any:
        """The id of an image by its path, of which the JSON may have the end only; None if it has none."""
        parts = PurePosixPath(name.replace(os.sep, "/")).parts
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        return next((self.images[end] for end in ends if end in self.images), None)


def coco_ids(sources: Sequence[Any]) -> CocoIds | None:
    """The ids of the COCO JSON of objects that is the only source, or the only one in it; None if there is none."""
    if len(sources) != 1 or not isinstance(sources[0], str | Path):
        return None
    path = Path(sources[0]).expanduser()
    files = [path] if path.is_file() and path.suffix.lower() == ".json" else []
    if path.is_dir():
        files = find_coco_files(path, None)
    if len(files) != 1 or coco_kind(files[0]) != "objects":
        return None
    try:
        content = read_large_json(files[0])
    except (Unreadable, OSError):  # said when its images are read
        return None
    return CocoIds(_ids(content, "images", "file_name"), _ids(content, "categories", "name"))


def _ids(content: Any, part: str, key: str) -> dict[str, Any]:
    """Name -> id of the entries of a list that have both."""
    entries = content.get(part) if isinstance(content, dict) else None
    found = [one for one in entries or () if isinstance(one, dict) and isinstance(one.get(key), str)]
    return {one[key]: one["id"] for one in found if isinstance(one.get("id"), int | str)}
