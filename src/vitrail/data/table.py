"""Tables of paths and labels: CSV files and JSON lines, read into cells of text."""

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from ..errors import VitrailError
from ..plain import short
from .csv_columns import PATH_COLUMNS
from .file_bytes import read_file
from .samples import BadFile, normal

_DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        path: the file, for messages.
        base: the folder to which the paths in it are relative.
        names: names of the columns.
        lines: line number and cells of each row; a row may have too few or too many cells.
        bad: lines that are no rows.
    """

    path: Path
    base: Path
    names: list[str]
    lines: list[tuple[int, list[str]]]
    bad: tuple[BadFile, ...] = ()

    @property
    def rows(self) -> list[list[str]]:
        """The cells of each row."""
        return [cells for _, cells in self.lines]


def read_csv(path: Path) -> Table:
    """Read a CSV with a header; cells are separated by comma, semicolon, tab or |, or as its first line `sep=;` says.

    Raises:
        VitrailError: it is not a CSV in UTF-8, or has no rows.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            delimiter, skipped = _delimiter(file)
            start = file.tell()
            lines, problem = _read(file, delimiter, skipped, csv.QUOTE_MINIMAL)
            if problem and delimiter == "|":  # such tables, as Flickr30k's, have quotes that are parts of a text
                file.seek(start)
                lines, problem = _read(file, delimiter, skipped, csv.QUOTE_NONE)
    except UnicodeDecodeError as error:
        raise VitrailError(f"{path} is not UTF-8 text: save it as CSV UTF-8") from error
    if problem:
        raise VitrailError(f"{path} is not a CSV: {problem}")
    if len(lines) < 2:
        raise VitrailError(f"{path} has no rows: it needs a header (path,label) and a row for each image")
    return Table(path, path.parent, [normal(cell) for cell in lines[0][1]], lines[1:])


def _read(
    file: TextIO, delimiter: str, skipped: int, quoting: Literal[0, 3]
) -> tuple[list[tuple[int, list[str]]], str]:
    """Line number and cells of each row that is not empty, and what is wrong after the last of them, if anything."""
    # Spaces before a quoted cell are not part of it: path, "cat".
    reader = csv.reader(file, delimiter=delimiter, strict=True, skipinitialspace=True, quoting=quoting)
    lines = []
    place = 0
    try:
        for cells in reader:
            place = reader.line_num + skipped
            if any(cell.strip() for cell in cells):
                lines.append((place, cells))
    except csv.Error as error:
        way = "; a quote in a quoted cell is written twice" if "expected" in str(error) else ""
        return lines, f"{error} (after line {place}){way}"
    return lines, ""


def _delimiter(file: TextIO) -> tuple[str, int]:
    """Find what separates the cells, and skip a first line `sep=;`, as Excel writes it; also return the lines skipped.

    It is the one with which the header has a path column, and most columns.
    """
    first = file.readline()
    named = re.fullmatch(r"\"?sep=(.)\"?", first.rstrip("\r\n"), re.IGNORECASE)
    if named and named[1] in _DELIMITERS:
        return named[1], 1
    while first and not first.strip():
        first = file.readline()
    file.seek(0)

    def score(delimiter: str) -> tuple[bool, int]:
        try:
            names = [name.strip().lower() for name in next(csv.reader([first], delimiter=delimiter), [])]
        except csv.Error:  # a long line without this separator
            return False, 0
        return any(name in PATH_COLUMNS for name in names), len(names)

    return max(_DELIMITERS, key=score), 0


def json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]] | BadFile]:
    """Iterate over JSON lines: line number and object, or what is wrong with the line."""
    for place, line in enumerate(read_file(path).removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        if not line.strip():
            continue
        where = f"line {place}"
        try:
            entry = json.loads(line)
        except UnicodeDecodeError:
            yield BadFile(where, "not UTF-8 text")
            continue
        except (ValueError, RecursionError) as error:
            yield BadFile(where, f"not JSON ({' '.join(str(error).split())[:100]})")
            continue
        if isinstance(entry, dict):
            yield place, entry
        else:
            yield BadFile(where, f"{short(entry)}, where an object with a path and a label or caption is needed")


def read_json_lines(path: Path) -> Table:
    """Read JSON lines; a key is a column, what is no text is written as JSON, and null is an empty cell.

    Raises:
        VitrailError: no line is an object.
    """
    found = list(json_objects(path))
    objects = [row for row in found if not isinstance(row, BadFile)]
    if not objects:
        raise VitrailError(f"{path} names no image: it needs an object with a path and a label or caption in each line")
    names = list(dict.fromkeys(key for _, entry in objects for key in entry))
    lines = [(place, [_cell(entry.get(name)) for name in names]) for place, entry in objects]
    bad = tuple(row for row in found if isinstance(row, BadFile))
    return Table(path, path.parent, [normal(name) for name in names], lines, bad)


def read_tokens(path: Path) -> Table:
    """Read lines of `name#number`, tab, caption: the form of the captions of Flickr8k and Flickr30k.

    Raises:
        VitrailError: no line has this form, or it is not UTF-8 text.
    """
    lines, bad = list[tuple[int, list[str]]](), list[BadFile]()
    try:
        rows = read_file(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise VitrailError(f"{path} is not UTF-8 text: save it as UTF-8") from error
    for place, row in enumerate(rows, 1):
        name, tab, caption = row.partition("\t")
        if tab:
            lines.append((place, [name.rpartition("#")[0] or name, caption]))
        elif row.strip():
            bad.append(BadFile(f"line {place}", "no tab between the name and the caption"))
    if not lines:
        raise VitrailError(f"{path} has no captions: it needs lines of name#number, a tab, and the caption")
    return Table(path, path.parent, ["image", "caption"], lines, tuple(bad))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
