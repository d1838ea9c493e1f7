"""Pascal VOC: an XML with boxes for each image, in `Annotations` or beside it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from xml.etree import ElementTree

from ..errors import VitrailError
from ..machine.garbage import collection_paused
from ..plain import Unreadable
from ..task_spec import TaskSpec
from .annotated import DETECTION, Annotated, make_source, some, task_note
from .annotation_text import finite, read_xml
from .boxes import box_in_pixels
from .folder_source import files_below, subfolders
from .image_header import upright_size
from .image_index import ImageIndex
from .image_sets import described, read_image_sets, stem_of
from .map_folders import split_in
from .map_names import is_map_folder
from .samples import BadFile, FileAt, Source, Split, normal, order_classes, printable

TASKS = ("detection",)

_EDGES = ("xmin", "ymin", "xmax", "ymax")


def matches(root: Path, task: TaskSpec | None) -> bool:
    """Whether a folder has XML of Pascal VOC, in itself or in folders of up to two levels."""
    outer = [root, *(root / name for name in subfolders(root))]
    folders = [*outer, *(folder / name for folder in outer[1:] for name in subfolders(folder))]
    return any(_is_voc(path) for folder in folders for path in islice(folder.glob("*.xml"), 3))


def open_folder(root: Path, labelled: bool, task: TaskSpec | None) -> Source:
    """Open a folder in the form of Pascal VOC.

    The image of an XML has its name in another folder or beside it, or the name in its `filename`. Boxes that are
    `difficult` are a crowd. VOC counts pixels from 1, and `xmax` is the last pixel of the box; other programs write
    edges from 0. The numbers of the whole set show which: a smallest edge of 0, or a fraction, is not VOC's.

    Raises:
        VitrailError: no usable image.
    """
    index = ImageIndex(root)
    paths = [path for path in files_below(root) if path.lower().endswith(".xml")]
    lists = read_image_sets(root, "Main")
    if lists:
        paths = [path for path in paths if stem_of(path) in lists]
    with collection_paused():
        read = [(path, _read(os.path.join(root, path))) for path in paths]
    pages = [page for _, page in read if isinstance(page, _Page)]
    from_one = _counts_from_one(pages)
    class_names = order_classes((item.name for page in pages for item in page.objects if item.name), str(root))
    classes = {name: place for place, name in enumerate(class_names)}
    images = [_annotated(index, path, page, classes, from_one, lists) for path, page in read]
    known = {image.name for image in images}
    lacking = [path for path in index.paths if path not in known and _is_meant(path, lists)]
    bad = [BadFile(path, "no XML, which images without objects have too") for path in lacking]
    counted = "pixels counted from 1, the last one included" if from_one else "edges counted from 0"
    notes = [task_note(task, DETECTION, f"boxes of Pascal VOC XML, {counted}")]
    if lists:
        notes += described(lists, "Main", {stem_of(path) for path in (*paths, *index.paths)})
    if len(class_names) == 0:
        raise VitrailError(f"no XML of {root} has an object with a name{_first(images)}")
    return make_source(str(root), images, class_names=class_names, task=DETECTION, kind="boxes", bad=bad, notes=notes)


@dataclass(frozen=True, slots=True)
class _Object:
    """An object: its place in the XML, name, edges (None: no number), and whether it is difficult."""

    place: int
    name: str
    edges: tuple[float | None, ...]
    difficult: bool


@dataclass(frozen=True, slots=True)
class _Page:
    """An XML: the name of its image, height and width, and the objects."""

    filename: str
    size: tuple[int, int] | None
    objects: tuple[_Object, ...]


def _is_voc(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return b"<annotation" in file.read(2048)
    except OSError:
        return False


def _is_meant(path: str, lists: dict[str, Split | None]) -> bool:
    """Whether an image should have an XML: it is no mask, and in the lists if there are any."""
    return not is_map_folder(os.path.dirname(path)) and (not lists or stem_of(path) in lists)


def _first(images: Sequence[Annotated]) -> str:
    faulty = [image for image in images if image.problems]
    return f" ({faulty[0].name}: {faulty[0].problems[0]})" if faulty else ""


def _read(path: str) -> _Page | str:
    """The page, or why it cannot be used."""
    try:
        root = read_xml(path)
    except Unreadable as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)
    if root.tag != "annotation":
        return f"its root is <{printable(root.tag[:40])}>, not <annotation>"
    width, height = (finite(root.findtext(f"size/{side}")) for side in ("width", "height"))
    size = (int(height), int(width)) if height and width and min(height, width) >= 1 else None
    objects = tuple(_object(place, each) for place, each in enumerate(root.iterfind("object"), 1))
    return _Page((root.findtext("filename") or "").strip(), size, objects)


def _object(place: int, element: ElementTree.Element) -> _Object:
    """One pass over the children: `findtext` for each of them takes four times as long."""
    name, difficult = "", False
    edges: dict[str, float | None] = {}
    for child in element:
        text = (child.text or "").strip()
        if child.tag == "name":
            name = _normal(text)
        elif child.tag == "difficult":
            difficult = text.lower() in ("1", "true")
        elif child.tag == "bndbox":
            edges = {edge.tag: finite((edge.text or "").strip()) for edge in child if edge.tag in _EDGES}
    return _Object(place, name, tuple(map(edges.get, _EDGES)), difficult)


_normal = lru_cache(4096)(normal)  # the same few names, a million times


def _counts_from_one(pages: Sequence[_Page]) -> bool:
    """Whether all boxes can be VOC's: whole numbers, the smallest at least 1."""
    edges = [edge for page in pages for item in page.objects for edge in item.edges if edge is not None]
    return all(edge.is_integer() and edge >= 1 for edge in edges)


def _annotated(
    index: ImageIndex,
    path: str,
    page: _Page | str,
    classes: dict[str, int],
    from_one: bool,
    lists: dict[str, Split | None],
) -> Annotated:
    stem, folder = stem_of(path), os.path.dirname(path)
    image = index.of_stem(stem, folder)[0]
    if not image and isinstance(page, _Page) and page.filename:
        image = index.find(page.filename, folder)[0]
    split = lists.get(stem) if lists else split_in(os.path.dirname(image or path))
    if not image:
        return Annotated(path, "", split, problems=("no image of this name" if isinstance(page, _Page) else page,))
    full = index.full(image)
    if isinstance(page, str):
        return Annotated(image, full, split, problems=(f"{page} ({path})",))
    size = page.size or upright_size(FileAt(full))
    if size is None:
        return Annotated(image, full, split, problems=(f"neither {path} nor its header states its width and height",))
    boxes = [_box(item, classes, size, from_one) for item in page.objects]
    problems = [
        f"object {item.place}: {box} ({path})"
        for item, box in zip(page.objects, boxes, strict=True)
        if isinstance(box, str)
    ]
    return Annotated(image, full, split, tuple(boxes), size, tuple(problems))


def _box(item: _Object, classes: dict[str, int], size: tuple[int, int], from_one: bool) -> object:
    if not item.name:
        return "it has no name"
    missing = [name for name, edge in zip(_EDGES, item.edges, strict=True) if edge is None]
    if missing:
        return f"its {some(missing)} {'is' if len(missing) == 1 else 'are'} missing or no finite number"
    left, top, right, bottom = (edge or 0.0 for edge in item.edges)
    edges = (left - from_one, top - from_one, right, bottom)
    return box_in_pixels(classes[item.name], edges, size, crowd=item.difficult)
