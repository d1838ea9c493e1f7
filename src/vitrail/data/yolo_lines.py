"""Lines of YOLO's text files: a class and a box, or a class and a polygon, in fractions of the image."""

import math
from collections.abc import Sequence
from typing import Any

from .boxes import box_in_fractions, hull
from .regions import Region
from .samples import printable

_BOX = 5


def read_lines(
    text: str, classes: int, *, regions: Sequence[int] | None = None, keypoints: bool = False
) -> tuple[tuple[Any, ...], list[str]]:
    """Read the labels of one image.

    A line has 5 numbers, class, centre x and y, width, height; or a class and three corners or more, of which the
    box around is taken.

    Args:
        text: the text of its file.
        classes: number of classes.
        regions: for segmentation, the class of a map for each class of the text: then polygons are `Region`s, and
            boxes are wrong.
        keypoints: after the box come points, which are not used.

    Returns:
        labels: a `Box` or a `Region` for each line.
        problems: what is wrong, a clause for each line.
    """
    labels, problems = [], []
    for place, line in enumerate(text.splitlines(), 1):
        cells = line.split()
        if not cells:
            continue
        label = _read(cells[:_BOX] if keypoints else cells, classes, regions)
        if isinstance(label, str):
            problems.append(f"line {place}: {label}")
        else:
            labels.append(label)
    return tuple(labels), problems


def highest_class(text: str) -> int:
    """The highest number of a class in a text; -1 if there is none."""
    firsts = (line.split(None, 1)[0] for line in text.splitlines() if line.strip())
    return max((int(first) for first in firsts if first.isdecimal() and len(first) < 6), default=-1)


def _read(cells: list[str], classes: int, regions: Sequence[int] | None) -> Any:
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        wrong = next(cell for cell in cells if not is_number(cell))
        return f"{printable(wrong[:40])!r} is not a number"
    if len(numbers) != _BOX and (len(numbers) < 7 or len(numbers) % 2 == 0):
        return f"{len(numbers)} numbers, where a box has 5, and a polygon a class and three corners or more"
    if not all(map(math.isfinite, numbers)):
        return f"{next(number for number in numbers if not math.isfinite(number))} is not a finite number"
    if not numbers[0].is_integer() or not 0 <= numbers[0] < classes:
        return f"class {cells[0][:20]} is not one of 0 to {classes - 1}"
    label, rest = int(numbers[0]), numbers[1:]
    if len(numbers) == _BOX:
        x, y, width, height = rest
        edges = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        return box_in_fractions(label, edges) if regions is None else "a box, where segmentation needs a polygon"
    box = box_in_fractions(label, hull(rest))
    if regions is None or isinstance(box, str):
        return box
    region = Region.of_polygons(regions[label], [rest])
    return region if region.polygons else "its polygon has no area"


def is_number(cell: str) -> bool:
    """Whether a cell is a number, also one that is not finite."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
