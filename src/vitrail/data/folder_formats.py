"""Formats of folders with annotations: boxes, maps, texts or labels of the images in them."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ..task_spec import TaskSpec
from .annotated import ANNOTATIONS, DEPTH
from .samples import Source

FORMATS = {
    "COCO JSON": "coco_source",
    "YOLO texts": "yolo_source",
    "Pascal VOC XML": "voc_source",
    "masks": "mask_source",
    "depths": "depth_source",
    "clips": "clip_source",
    "metadata table": "metadata_source",
}
"""Name -> file with `TASKS`, `matches(path, task)` and `open_folder(path, labelled, task)`, in the order of asking."""


@dataclass(frozen=True, slots=True)
class FolderFormat:
    """A format of folders.

    Attributes:
        name: its name.
        tasks: names of the tasks that it has labels for.
        opens_unlabelled: whether it opens folders without labels too, because not every image in them is a sample:
            some are labels, or frames of a clip.
        matches: whether a folder is in it.
        open: opens a folder.
    """

    name: str
    tasks: tuple[str, ...]
    opens_unlabelled: bool
    matches: Callable[[Path, TaskSpec | None], bool]
    open: Callable[[Path, bool, TaskSpec | None], Source]


def folder_format(root: Path, task: TaskSpec | None, *, labelled: bool = True) -> FolderFormat | None:
    """Find the format of a folder with annotations for the task.

    Args:
        root: the folder.
        task: the task; None: any.
        labelled: False looks only for formats that open folders without labels too.

    Returns:
        the format; None if the folder has no annotations.
    """
    for found in folder_formats():
        is_asked = labelled or found.opens_unlabelled
        if is_asked and (task is None or task.name in found.tasks) and found.matches(root, task):
            return found
    return None


def no_annotations(root: Path, task: TaskSpec) -> str:
    """Message for a folder without annotations for a task."""
    wanted = {
        "boxes": "a COCO JSON, a data.yaml and labels/ of YOLO, or Annotations/ of Pascal VOC beside the images",
        "texts": "a COCO JSON of captions, a metadata.csv or metadata.jsonl with file_name and text, or name a CSV",
    }
    maps = (
        "images/ and depth/"
        if task.name == DEPTH.name
        else "images/ and masks/, or polygons in a COCO JSON or YOLO texts"
    )
    return f"{root} has no annotations for --task {task}: give it {wanted.get(ANNOTATIONS[task.name], maps)}"


def folder_formats() -> list[FolderFormat]:
    """Return the formats, in the order in which a folder is compared with them."""
    return [_read(name, module) for name, module in FORMATS.items()]


def _read(name: str, module: str) -> FolderFormat:
    content: dict[str, Any] = vars(import_module(f".{module}", __package__))
    return FolderFormat(
        name, content["TASKS"], content.get("OPENS_UNLABELLED", False), content["matches"], content["open_folder"]
    )
