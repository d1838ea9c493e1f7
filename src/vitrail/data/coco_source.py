"""COCO JSON with images beside it: boxes, polygons and run lengths of objects, or captions."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import VitrailError
from ..machine.garbage import collection_paused
from ..plain import short
from ..task_spec import TaskSpec
from .annotated import (
    DETECTION,
    IMAGE_TEXT,
    SEGMENTATION,
    Annotated,
    check_names,
    make_source,
    some,
    task_note,
    with_background,
)
from .annotation_text import finite
from .boxes import box_in_pixels, hull
from .coco_files import find_coco_files, wants_captions
from .coco_json import CocoFile, CocoImage, CocoKind, annotation_name, coco_kind, read_coco
from .image_header import upright_size
from .image_index import ImageIndex
from .map_folders import split_in
from .regions import Region, RegionMap, parse_runs
from .samples import BadFile, FileAt, LabelKind, Source

TASKS = ("detection", "segmentation", "image-text")

_BESIDE = frozenset(("annotations", "annotation", "anns", "labels", "json", "jsons", "coco"))
"""Names of folders, in lower case, whose JSON describes images in folders beside them."""


def matches(root: Path, task: TaskSpec | None) -> bool:
    """Whether a folder, or a folder in it, has a COCO JSON for the task."""
    return bool(find_coco_files(root, task))


def open_folder(root: Path, labelled: bool, task: TaskSpec | None) -> Source:
    """Open a folder with one COCO JSON or several: beside the images, in split folders, or in `annotations/`."""
    paths = find_coco_files(root, task)
    kind: CocoKind = "captions" if wants_captions(task) else coco_kind(paths[0]) or "objects"
    return _open(str(root), root, paths, kind, task, labelled)


def coco_file(path: Path, labelled: bool, task: TaskSpec | None) -> Source:
    """Open one COCO JSON, whose images are in its folder or, if it is in `annotations/`, in folders beside that.

    Raises:
        VitrailError: not a COCO JSON, or no usable image.
    """
    kind = coco_kind(path) or "objects"
    if wants_captions(task) and kind == "objects":
        raise VitrailError(f"{path} has no captions, which --task {task} needs: name a COCO JSON of captions")
    root = path.absolute().parent if path.parent == Path() else path.parent
    root = path.absolute().parent.parent if root.name.lower() in _BESIDE else root
    return _open(str(path), root, [path], kind, task, labelled)


Labels = Callable[[CocoImage, tuple[int, int], dict[Any, int]], tuple[tuple[Any, ...], list[str]]]
"""(image, its height and width, category -> class) -> its labels, and what is wrong with its annotations."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is read: `labels` of images in `index`, which need their size unless they are texts."""

    index: ImageIndex
    class_names: list[str]
    labels: Labels
    needs_size: bool


def _open(
    name: str, root: Path, paths: Sequence[Path], kind: CocoKind, task: TaskSpec | None, labelled: bool
) -> Source:
    with collection_paused():
        return _read(name, root, paths, kind, task, labelled)


def _read(
    name: str, root: Path, paths: Sequence[Path], kind: CocoKind, task: TaskSpec | None, labelled: bool
) -> Source:
    files = [read_coco(path) for path in paths]
    listed = some([os.path.relpath(path, root) for path in paths])
    chosen = IMAGE_TEXT if kind == "captions" else task or DETECTION
    label_kind: LabelKind = "boxes"
    labels: Labels = _boxes
    class_names, notes = ([], []) if kind == "captions" else _class_names(files, name)
    if kind == "captions":
        label_kind, labels, text = "texts", _captions, f"captions of the COCO JSON {listed}"
    elif chosen.name == SEGMENTATION.name:
        label_kind, labels, class_names = "maps", _regions, with_background(class_names)
        text = f"regions of the COCO JSON {listed}, the smaller in front; all else is {class_names[0]}"
    else:
        text = f"boxes of the COCO JSON {listed}"
    plan = _Plan(ImageIndex(root), class_names, labels if labelled else _nothing, labelled and kind != "captions")
    images, again = _first_of_each([image for file in files for image in _annotated(file, plan)])
    if again:
        notes.append(f"images that several JSON files list are used as in the first: {some(again, 1)}")
    notes = [task_note(task, chosen, text), *notes, *_not_listed(plan.index, images)]
    bad = [BadFile(entry.name, f"{entry.reason} ({file.path.name})") for file in files for entry in file.bad]
    return make_source(name, images, class_names=class_names, task=chosen, kind=label_kind, bad=bad, notes=notes)


def _class_names(files: Sequence[CocoFile], name: str) -> tuple[list[str], list[str]]:
    """Names of the classes in the order of the first file's ids, then those that only others have; and notes."""
    names: list[str] = []
    for file in files:
        check_names(list(file.categories.values()), str(file.path))
        names += [each for each in file.categories.values() if each not in names]
    check_names(names, name)
    groups = list(dict.fromkeys(each for file in files for each in file.empty if each not in names))
    notes = [f"categories without an object that only group others are left out: {some(groups)}"] if groups else []
    return names, notes


def _annotated(file: CocoFile, plan: _Plan) -> list[Annotated]:
    index = {name: place for place, name in enumerate(plan.class_names)}
    classes = {key: index[name] for key, name in file.categories.items()} if index else {}
    folder = os.path.relpath(file.path.parent, plan.index.root)
    folder = "" if folder.startswith(".") else folder
    words = file.path.stem.split("_")
    stated = split_in(os.path.join(folder, file.path.name))
    found = []
    for image in file.images:
        path, problem = plan.index.find(image.name, folder, words)
        if problem or image.problem:
            found.append(Annotated(image.name, "", stated, problems=(image.problem or problem,)))
            continue
        full = plan.index.full(path)
        size = image.size or (upright_size(FileAt(full)) if plan.needs_size else None)
        split = stated or split_in(os.path.dirname(path))
        if size is None and plan.needs_size:
            labels, problems = (), [f"neither {file.path.name} nor its header states its width and height"]
        else:
            labels, problems = plan.labels(image, size or (1, 1), classes)
        stamped = tuple(f"{each} ({file.path.name})" for each in problems)
        found.append(Annotated(path, full, split, labels, size if plan.needs_size else None, stamped))
    return found


def _first_of_each(images: Sequence[Annotated]) -> tuple[list[Annotated], list[str]]:
    """The images without those whose file an earlier one of another JSON has, and the names of these."""
    first: dict[str, Annotated] = {}
    again = [image.name for image in images if image.path and first.setdefault(image.path, image) is not image]
    return [image for image in images if not image.path or first[image.path] is image], again


def _not_listed(index: ImageIndex, images: Sequence[Annotated]) -> list[str]:
    known = {image.name for image in images if image.path}
    others = [path for path in index.paths if path not in known]
    if not others:
        return []
    return [f"images that no JSON lists are not used: {some(others, 1)}"]


def _nothing(image: CocoImage, size: tuple[int, int], classes: dict[Any, int]) -> tuple[tuple[Any, ...], list[str]]:
    return (), []


def _boxes(image: CocoImage, size: tuple[int, int], classes: dict[Any, int]) -> tuple[tuple[Any, ...], list[str]]:
    boxes, problems = [], []
    for place, entry in image.annotations:
        label = _label(entry, classes)
        box = label if isinstance(label, str) else _box(entry, label, size)
        if isinstance(box, str):
            problems.append(f"{annotation_name(place, entry)}: {box}")
        else:
            boxes.append(box)
    return tuple(boxes), problems


def _crowd(value: Any) -> bool | None:
    """Whether an annotation is a group of objects; None if its value says nothing."""
    if value in (1, "1"):
        return True
    return False if value in (None, 0, "0") else None


def _box(entry: dict[str, Any], label: int, size: tuple[int, int]) -> Any:
    """The box of an annotation, or what is wrong with it; without a `bbox` that around its polygons."""
    crowd = _crowd(entry.get("iscrowd"))
    if crowd is None:
        return f"its iscrowd is {short(entry['iscrowd'])}, not 0 or 1"
    stated = entry.get("bbox")
    if stated is None and (polygons := _polygons(entry.get("segmentation"))):
        edges = hull([value for polygon in polygons for value in polygon])
        return box_in_pixels(label, edges, size, crowd=crowd)
    if not isinstance(stated, list) or len(stated) != 4:
        return f"its bbox is {short(stated)}, not [left, top, width, height]"
    numbers = [finite(value) for value in stated]
    left, top, width, height = numbers
    if left is None or top is None or width is None or height is None:
        return f"its bbox {short(stated)} has what is not a finite number"
    return box_in_pixels(label, (left, top, left + width, top + height), size, crowd=crowd)


def _regions(image: CocoImage, size: tuple[int, int], classes: dict[Any, int]) -> tuple[tuple[Any, ...], list[str]]:
    regions, problems = [], []
    for place, entry in image.annotations:
        label = _label(entry, classes)
        region = label if isinstance(label, str) else _region(entry.get("segmentation"), label, size)
        if isinstance(region, str):
            problems.append(f"{annotation_name(place, entry)}: {region}")
        else:
            regions.append(region)
    return (RegionMap.of(regions, size),), problems


def _region(stated: Any, label: int, size: tuple[int, int]) -> Region | str:
    if isinstance(stated, dict):
        runs = parse_runs(stated.get("counts"), stated.get("size"), size)
        if isinstance(runs, str):
            return runs
        return Region.of_runs(label, runs) if runs[1::2].sum() else "its run lengths have no pixel"
    polygons = _polygons(stated)
    if polygons is None:
        return f"its segmentation is {short(stated)}: neither polygons of three corners or more nor run lengths"
    region = Region.of_polygons(label, polygons)
    if not region.polygons:
        return "its polygon has no area"
    around = box_in_pixels(label, hull([value for polygon in polygons for value in polygon]), size)
    return around.replace("the box", "its polygon", 1) if isinstance(around, str) else region


def _polygons(stated: Any) -> list[list[float]] | None:
    """Polygons x, y, x, y … with three corners or more; None if it is something else."""
    if not isinstance(stated, list) or not stated:
        return None
    found = []
    for polygon in [stated] if not isinstance(stated[0], list) else stated:
        numbers = [finite(value) for value in polygon] if isinstance(polygon, list) else [None]
        if len(numbers) < 6 or len(numbers) % 2 or any(number is None for number in numbers):
            return None
        found.append([number or 0.0 for number in numbers])
    return found


def _label(entry: dict[str, Any], classes: dict[Any, int]) -> int | str:
    key = entry.get("category_id")
    try:
        found = classes.get(key)
    except TypeError:  # a list
        found = None
    return f"category {short(key)} is not in categories" if found is None else found


def _captions(image: CocoImage, size: tuple[int, int], classes: dict[Any, int]) -> tuple[tuple[Any, ...], list[str]]:
    texts, problems = [], []
    for place, entry in image.annotations:
        text = entry.get("caption")
        if isinstance(text, str) and text.strip():
            texts.append(" ".join(text.split()))
        else:
            is_empty = text is None or isinstance(text, str)
            problems.append(
                f"{annotation_name(place, entry)}: its caption is {'empty' if is_empty else f'{short(text)}, not text'}"
            )
    return tuple(texts), problems or ([] if texts else ["no caption"])
