"""Writes scenes as files, in the formats of annotations in common use."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import yaml
from PIL import Image

from ...errors import VitrailError, nearest
from ..samples import Split
from . import truth
from .clips import clip, motion_class, motion_names
from .options import SceneOptions
from .scene import Scene, SceneSet, picture, scene, scene_set

Place = tuple[SceneSet, Split, int]
"""Arguments of the functions of one scene."""


def write_scenes(folder: Path | str, form: str, options: SceneOptions | str = "") -> int:
    """Write scenes as files.

    Images are PNGs; SPLIT is train, val or test.

    | form | files |
    |---|---|
    | classes | `images/SPLIT/CLASS/N.png`; the nearest object, white on black, in `masks/SPLIT/CLASS/N.png` |
    | coco | `SPLIT/N.png`, `annotations/instances_SPLIT.json` with boxes and uncompressed RLE |
    | yolo | `images/SPLIT/N.png`, `labels/SPLIT/N.txt`, `data.yaml` |
    | masks | `images/SPLIT/N.png`, `masks/SPLIT/N.png` (indices with a palette), `classes.txt` |
    | depth | `images/SPLIT/N.png`, `depth/SPLIT/N.png` (16 bits, millimetres) |
    | captions | `images/SPLIT/N.png`, `captions.csv` with path, caption and split, a line for each caption |
    | numbers | `images/SPLIT/N.png`, `numbers.csv` with path, the chosen numbers and split |
    | clips | frames in `SPLIT/CLASS/N/T.png` |

    Args:
        folder: folder to write to, which is made; it must be empty if it exists.
        form: name in the table.
        options: options of the scenes, also as text, see `SceneOptions`.

    Returns:
        Number of scenes.

    Raises:
        VitrailError: an unknown form, options that are not allowed, or a folder that has files.
    """
    if form not in FORMS:
        raise VitrailError(f"scenes cannot be written as {form!r}; {nearest(form, FORMS)}")
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise VitrailError(f"{folder} is not empty: name a new folder")
    options = SceneOptions.parse(options) if isinstance(options, str) else options
    if form == "captions":
        options = options.for_captions()
    scenes = scene_set(options)
    places = [(scenes, split, index) for split in get_args(Split) for index in range(options.count(split))]
    folder.mkdir(parents=True, exist_ok=True)
    FORMS[form](folder, places)
    return len(places)


def _classes(folder: Path, places: list[Place]) -> None:
    for place in places:
        scenes, split, index = place
        name = f"{split}/{_file_name(scenes.class_names[truth.image_class(*place)])}/{index:06d}.png"
        _save(picture(*place), folder / "images" / name)
        _save(np.where(scene(*place).instances == 1, np.uint8(255), np.uint8(0)), folder / "masks" / name)


def _coco(folder: Path, places: list[Place]) -> None:
    for split, its in _by_split(places):
        categories = [{"id": 1 + i, "name": name} for i, name in enumerate(its[0][0].class_names)]
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for place in its:
            side = place[0].options.size
            images.append({"id": place[2], "file_name": f"{place[2]:06d}.png", "width": side, "height": side})
            for row in _coco_objects(scene(*place), side):
                annotations.append({"id": len(annotations) + 1, "image_id": place[2], **row})
            _save(picture(*place), folder / split / f"{place[2]:06d}.png")
        path = folder / "annotations" / f"instances_{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


def _coco_objects(found: Scene, side: int) -> Iterator[dict[str, Any]]:
    for number, each in enumerate(found.objects, start=1):
        box, mask = each.box, found.instances == number
        edges = [side * value for value in (box.left, box.top, box.right - box.left, box.bottom - box.top)]
        run = np.diff(np.flatnonzero(np.diff(mask.ravel(order="F"), prepend=False, append=False)), prepend=0)
        rest = mask.size - int(run.sum())
        counts = [*run.tolist(), rest] if rest else run.tolist()
        yield {
            "category_id": 1 + each.thing.label,
            "bbox": edges,
            "area": int(mask.sum()),
            "iscrowd": 0,
            "segmentation": {"size": [side, side], "counts": counts},
        }


def _yolo(folder: Path, places: list[Place]) -> None:
    for place in places:
        name = _image(folder, place)
        rows = []
        for box in truth.boxes(*place):
            centre = (box.left + box.right) / 2, (box.top + box.bottom) / 2
            rows.append(f"{box.label} {centre[0]} {centre[1]} {box.right - box.left} {box.bottom - box.top}\n")
        path = folder / "labels" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(rows))
    facts: dict[str, Any] = {"path": "."}
    facts |= {split: f"images/{split}" for split, _ in _by_split(places)}
    facts["names"] = dict(enumerate(places[0][0].class_names))
    text = yaml.safe_dump(facts, sort_keys=False, allow_unicode=True)
    (folder / "data.yaml").write_text(text, encoding="utf-8")


def _masks(folder: Path, places: list[Place]) -> None:
    names = ("background", *places[0][0].class_names)
    # 37 has no common factor with 256: neighbours differ, and no class is black.
    palette = [value for i in range(len(names)) for value in (37 * i % 256, 101 * i % 256, 173 * i % 256)]
    for place in places:
        image = Image.fromarray(scene(*place).classes().astype(np.uint8))
        image.putpalette(palette)
        path = folder / "masks" / f"{_image(folder, place)}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def _depth(folder: Path, places: list[Place]) -> None:
    for place in places:
        millimetres = np.round(1000 * scene(*place).depth()).astype(np.uint16)
        _save(millimetres, folder / "depth" / f"{_image(folder, place)}.png")


def _captions(folder: Path, places: list[Place]) -> None:
    rows = (
        (f"images/{_image(folder, place)}.png", text, place[1]) for place in places for text in truth.captions(*place)
    )
    _table(folder / "captions.csv", ("path", "caption", "split"), rows)


def _numbers(folder: Path, places: list[Place]) -> None:
    names = places[0][0].options.numbers
    rows = ((f"images/{_image(folder, place)}.png", *truth.numbers(*place), place[1]) for place in places)
    _table(folder / "numbers.csv", ("path", *names, "split"), rows)


def _clips(folder: Path, places: list[Place]) -> None:
    for place in places:
        scenes, split, index = place
        name = _file_name(motion_names(scenes)[motion_class(*place)])
        for number, frame in enumerate(clip(*place)):
            _save(frame, folder / split / name / f"{index:06d}" / f"{number:02d}.png")


FORMS: dict[str, Callable[[Path, list[Place]], None]] = {
    "classes": _classes,
    "coco": _coco,
    "yolo": _yolo,
    "masks": _masks,
    "depth": _depth,
    "captions": _captions,
    "numbers": _numbers,
    "clips": _clips,
}
"""Form -> function that writes it."""


def _image(folder: Path, place: Place) -> str:
    """Write the image of a scene; returns SPLIT/N, its name in every folder."""
    name = f"{place[1]}/{place[2]:06d}"
    path = folder / "images" / f"{name}.png"
    if not path.exists():
        _save(picture(*place), path)
    return name


def _save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _table(path: Path, columns: tuple[str, ...], rows: Iterator[tuple[Any, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows(rows)


def _by_split(places: list[Place]) -> Iterator[tuple[Split, list[Place]]]:
    for split in get_args(Split):
        if its := [place for place in places if place[1] == split]:
            yield split, its


def _file_name(name: str) -> str:
    """Name of a class as that of a folder."""
    return name.replace("/", "-").strip(".") or "unnamed"
