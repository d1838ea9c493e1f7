"""Labels in the cells of a table: one class, or a list of classes in one of several notations."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Literal

from .samples import normal

Separator = Literal["", ",", " "]
"""What separates the classes of a cell besides `|` and `;`."""

_ITEM = re.compile(r"""'([^']*)'|"([^"]*)"|([^,'"]+)""")
_DECIMAL = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_SPLITS = {"": re.compile(r"[|;]"), ",": re.compile(r"[|;,]"), " ": re.compile(r"[|;\s]")}


def labels(cell: str, separator: Separator = "") -> list[str]:
    """Split a cell into class names: `cat|dog`, `cat;dog`, `['cat', 'dog']`, and with a separator `cat,dog`."""
    inside = _list(cell)
    parts = _SPLITS[separator].split(cell) if inside is None else _items(inside)
    return [name for name in map(normal, parts) if name]


def is_empty_list(cell: str) -> bool:
    """Whether a cell is a list without items, which means none of the classes; an empty cell has no label."""
    inside = _list(cell)
    return inside is not None and not _items(inside)


def find_separator(cells: Iterable[str], column: str, many: bool | None) -> tuple[Separator, str]:
    """Find what separates the classes in the cells of a column.

    Commas and spaces can also be parts of a name, so they separate classes only if the cells show it.

    Args:
        cells: the cells.
        column: name of the column, for the note.
        many: whether an image may have several classes; None if the user did not choose.

    Returns:
        separator: see `labels`.
        note: a sentence about cells that can be read in two ways, or "".
    """
    if many is False:
        return "", ""
    plain = {normal(cell) for cell in cells if _list(cell) is None and not _SPLITS[""].search(cell)} - {""}
    with_commas = {cell for cell in plain if "," in cell}
    if with_commas:
        return _commas(plain, with_commas, column, many)
    with_spaces = {cell for cell in plain if " " in cell}
    alone = plain - with_spaces
    if many and with_spaces and len({word for cell in plain for word in cell.split()}) < len(plain):
        return " ", f"the classes in column {column} are separated by spaces"
    example = next((cell for cell in sorted(with_spaces) if set(cell.split()) <= alone), "")
    if example and many is None:
        return "", (
            f"{example!r} in column {column} is read as one class, though its words are classes too: write "
            f"{'|'.join(example.split())} if it means several"
        )
    return "", ""


def _commas(plain: set[str], listed: set[str], column: str, many: bool | None) -> tuple[Separator, str]:
    if 2 * sum(_DECIMAL.fullmatch(cell) is not None for cell in listed) > len(listed):
        return "", (
            f"column {column} has decimal commas, such as {min(listed)!r}, and is read as names of classes: write "
            "decimal points to predict numbers"
        )
    counts = Counter(part for cell in listed for part in set(labels(cell, ",")))
    parts = counts.keys() | (plain - listed)
    # A class that also occurs alone, and fewer classes than cells: "crane" and "crane, bird" alone can be two names.
    if many or (len(parts) <= len(plain) and counts.keys() & (plain - listed)):
        return ",", f"the classes in column {column} are separated by commas"
    if any(count > 1 for count in counts.values()) or counts.keys() & (plain - listed):
        example = min(listed)
        return "", (
            f"{example!r} in column {column} is read as one class: write {'|'.join(labels(example, ','))} if it means "
            "several, or use --task classification:labels=many"
        )
    return "", ""


def _list(cell: str) -> str | None:
    """Text between the brackets of a list, as Python and NumPy print it; None if the cell is no list."""
    text = cell.strip()
    if len(text) < 2 or (text[0], text[-1]) not in (("[", "]"), ("(", ")"), ("{", "}")):
        return None
    inside = text[1:-1].strip()
    # [1] is the list of one beside [1, 2]; [unknown] is a name.
    is_list = not inside or inside[0] in "'\"" or (text[0] == "[" and ("," in inside or inside.isdecimal()))
    return inside if is_list else None


def _items(inside: str) -> list[str]:
    found = ("".join(groups).strip() for groups in _ITEM.findall(inside))
    return [item for item in found if item]
