"""Finds the COCO JSON files of a folder, also damaged ones, by their content and names."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..plain import Unreadable
from ..task_spec import TaskSpec
from .annotated import IMAGE_TEXT
from .annotation_text import read_large_json
from .coco_json import CocoKind, coco_kind
from .folder_source import subfolders
from .samples import SPLIT_WORDS

_MOST_FILES = 100
"""A folder with more JSON files than this has one for each image, in another format."""
_OTHER_KINDS = ("person_keypoints", "panoptic", "stuff", "image_info")
"""Beginnings of COCO's own files of other annotations, which are used only if they are named."""
_OWN_NAMES = ("instances_", "_annotations.coco")
"""Beginnings of the names of files of objects, of COCO itself and of Roboflow."""


def find_coco_files(root: Path, task: TaskSpec | None) -> list[Path]:
    """The COCO JSON files of a folder and of the folders in it; of the kind that the task needs, else of objects.

    A damaged file that is one of them by its name is among them, so that reading it names what is wrong.
    """
    kinds: dict[CocoKind, list[Path]] = {"objects": [], "captions": []}
    others: list[Path] = []
    for folder in [root, *(root / name for name in subfolders(root))]:
        files = sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))
        if len(files) > _MOST_FILES:
            continue
        for path in files:
            kind = coco_kind(path)
            others += [path] if kind is None else []
            if kind is not None:
                kinds[kind].append(path)
    meant = [(path, kind) for path in others if (kind := _meant_kind(path, kinds)) and not _is_of_another_form(path)]
    for path, kind in meant:
        kinds[kind].append(path)
    ordinary = [path for path in kinds["objects"] if not path.name.lower().startswith(_OTHER_KINDS)]
    objects = ordinary or kinds["objects"]
    if wants_captions(task):
        return kinds["captions"]
    return objects or ([] if task is not None else kinds["captions"])


def wants_captions(task: TaskSpec | None) -> bool:
    """Whether a task needs the captions of a COCO JSON."""
    return task is not None and task.name == IMAGE_TEXT.name


def _meant_kind(path: Path, kinds: Mapping[CocoKind, Sequence[Path]]) -> CocoKind | None:
    """The kind that a file should have by its name: that of another split's file, or of COCO's own names."""
    words, rest = _words(path)
    for kind, paths in kinds.items():
        if any(path.name == each.name or (words != rest and rest == _words(each)[1]) for each in paths):
            return kind
    return "objects" if path.name.lower().startswith(_OWN_NAMES) else None


def _words(path: Path) -> tuple[list[str], list[str]]:
    """Words of the name of a file, and those that name no split: `instances_train2017` is `instances`."""
    words = re.findall("[a-z]+", path.stem.lower())
    return words, [word for word in words if word not in SPLIT_WORDS]


def _is_of_another_form(path: Path) -> bool:
    """Whether a file is JSON, but has no images with annotations, as those of test images without labels."""
    try:
        content = read_large_json(path)
    except Unreadable:
        return False
    return not (isinstance(content, dict) and {"images", "annotations"} <= content.keys())
