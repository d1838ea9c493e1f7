"""Names of classes in files beside the images: lists of names, and tables of names with colours."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import VitrailError
from ..plain import Unreadable, short
from .annotated import check_names
from .annotation_text import read_large_json, read_text, read_yaml
from .samples import normal

_FILES = (
    "classes.txt", "names.txt", "labels.txt", "class_names.txt", "obj.names", "classes.names", "coco.names",
    "predefined_classes.txt", "labelmap.txt", "classes.csv", "labels.csv", "names.csv", "class_dict.csv",
    "label_colors.csv", "class_names.json", "classes.json", "names.json", "id2label.json", "data.yaml", "data.yml",
    "dataset.yaml", "dataset.yml", "config.yaml", "objectinfo150.txt", "label_colors.txt",
)  # fmt: skip
"""Names of the files in lower case; the first one that is there is read."""

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class ClassList:
    """Names of classes.

    Attributes:
        file: name of the file that they are from.
        names: the names, in the order of their numbers.
        colours: red, green and blue of each class; empty if the file has none.
        numbers: number of each class, ascending; empty if they are 0, 1, 2 …
    """

    file: str
    names: tuple[str, ...]
    colours: tuple[Colour, ...] = ()
    numbers: tuple[int, ...] = ()


def find_class_list(*folders: Path) -> ClassList | None:
    """Read the first list of classes in the folders; None if there is none.

    Raises:
        VitrailError: it cannot be read, or names a class twice.
    """
    for folder in dict.fromkeys(folders):
        if not folder.is_dir():
            continue
        present = {path.name.lower(): path for path in folder.iterdir() if path.name.lower() in _FILES}
        for name in _FILES:
            if name in present and (found := _read(present[name])) is not None:
                check_names(found.names, str(present[name]))
                return found
    return None


def names_of(value: Any) -> list[str] | None:
    """Names in a list, or in a mapping of numbers from 0 on to names, as in YOLO's data.yaml; None if it is neither."""
    if isinstance(value, dict):
        try:
            numbered = {int(key): name for key, name in value.items()}
        except (TypeError, ValueError):
            return None
        if sorted(numbered) != list(range(len(numbered))):
            return None
        value = [numbered[number] for number in range(len(numbered))]
    if not isinstance(value, list) or not all(isinstance(name, str | int | float) for name in value):
        return None
    return [normal(str(name)) for name in value]


def _read(path: Path) -> ClassList | None:
    try:
        suffix = path.suffix.lower()
        if suffix in (".yaml", ".yml", ".json"):
            return _of_mapping(path, read_large_json(path) if suffix == ".json" else read_yaml(path))
        lines = [line.strip() for line in read_text(path).splitlines()]
    except Unreadable as error:
        raise VitrailError(f"{path} cannot be read: {error}") from None
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        return None
    if path.name.lower() == "objectinfo150.txt":
        return ClassList(path.name, tuple(normal(line.split("\t")[-1]) for line in lines[1:]))
    if suffix == ".csv":
        return _of_table(path, lines)
    return _coloured(path, lines) or ClassList(path.name, tuple(normal(line) for line in lines))


def _of_mapping(path: Path, value: Any) -> ClassList | None:
    """A list, {"0": "cat"}, {"names": …}, or the inverse {"cat": 0}."""
    if isinstance(value, dict):
        inner = next((value[key] for key in ("names", "classes", "class_names", "id2label") if key in value), value)
        if names_of(inner) is None and isinstance(inner, dict) and all(type(each) is int for each in inner.values()):
            inner = {number: name for name, number in inner.items()}
        value = inner
    names = names_of(value)
    if names is None and (numbered := _numbered(value)):
        return ClassList(path.name, tuple(numbered.values()), numbers=tuple(numbered))
    if names is None:
        if path.suffix.lower() == ".json":
            raise VitrailError(f"{path} is {short(value)}: neither a list of names nor a mapping of numbers to names")
        return None
    return ClassList(path.name, tuple(names))


def _numbered(value: Any) -> dict[int, str]:
    """Names by numbers with gaps, ascending; empty if it is something else."""
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value.values()):
        return {}
    try:
        found = {int(key): normal(name) for key, name in value.items()}
    except (TypeError, ValueError):
        return {}
    return dict(sorted(found.items())) if len(found) == len(value) and min(found, default=-1) >= 0 else {}


def _of_table(path: Path, lines: list[str]) -> ClassList:
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=";" if ";" in lines[0] else ",")]
    except csv.Error as error:
        raise VitrailError(f"{path} is not a CSV: {error}") from None
    header = [cell.lower() for cell in rows[0]]
    places = [next((header.index(word) for word in words if word in header), None) for words in _COLUMNS]
    column, channels = places[0], [place for place in places[1:] if place is not None]
    body = rows if column is None else rows[1:]
    names, colours, coloured = [], [], len(channels) == 3
    for row in body:
        try:
            names.append(normal(row[column or 0]))
            colours += [_colour([row[channel] for channel in channels])] if coloured else []
        except (IndexError, ValueError, OverflowError):
            needed = "a name and three numbers from 0 to 255" if coloured else "a name"
            raise VitrailError(f"{path} has the row {', '.join(row)!r}: it needs {needed}") from None
    return ClassList(path.name, tuple(names), tuple(colours))


def _coloured(path: Path, lines: list[str]) -> ClassList | None:
    """Lines such as `cat:128,0,0::` (CVAT) or `128 0 0 cat` (CamVid), if all have that form."""
    for form in _COLOURED:
        found = [form.fullmatch(line) for line in lines]
        if all(found):
            try:
                colours = tuple(_colour(re.findall(r"\d+", each["rgb"])) for each in found if each)
            except ValueError as error:
                raise VitrailError(f"{path} has a colour that is not three numbers from 0 to 255: {error}") from None
            return ClassList(path.name, tuple(normal(each["name"]) for each in found if each), colours)
    return None


_COLUMNS = (
    ("name", "class_name", "class", "label", "category"),
    ("r", "red"),
    ("g", "green"),
    ("b", "blue"),
)
"""Names of the columns of a table: class, and its colour."""
_COLOURED = (
    re.compile(r"(?P<name>[^:]+):(?P<rgb>\d+,\d+,\d+)(:.*)?"),
    re.compile(r"(?P<rgb>\d+\s+\d+\s+\d+)\s+(?P<name>\S.*)"),
)


def _colour(cells: list[str]) -> Colour:
    red, green, blue = (int(float(cell)) for cell in cells)
    if not all(0 <= value <= 255 for value in (red, green, blue)):
        raise ValueError(f"{red}, {green}, {blue}")
    return red, green, blue
