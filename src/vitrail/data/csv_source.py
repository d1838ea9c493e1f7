"""Sources in a table: a CSV of paths and labels."""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import VitrailError
from ..task_spec import CLASSIFICATION, MULTI_LABEL
from .samples import SPLIT_WORDS, BadFile, FileAt, Sample, Source, Split, normal, order_classes

PATH_COLUMNS = ("path", "file", "filename", "file_name", "filepath", "image", "image_path", "img")
LABEL_COLUMNS = ("label", "labels", "class", "classes", "class_name", "target", "targets", "category")
SPLIT_COLUMNS = ("split", "set", "subset", "partition")


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which column is what; `flags` are the 0/1 columns of a multi-label table without a label column."""

    path: int
    label: int | None
    split: int | None
    flags: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    labels: tuple[str, ...]
    split: Split | None


def csv_table(path: Path, *, labelled: bool = True) -> Source:
    """A CSV with a header: a path column, a label column, optionally a split column.

    Columns are known by the names in `PATH_COLUMNS`, `LABEL_COLUMNS` and `SPLIT_COLUMNS`, in any case.
    Several labels in one cell are separated by `|` or `;`; without a label column, two or more columns of 0
    and 1 are one class each: both make a multi-label source. Cells are separated by comma, semicolon or tab.
    Paths are relative to the CSV. Rows that cannot be used (no such file, no label, unknown split) become bad
    files.
    """
    lines = _read(path)
    header = [normal(cell).lower() for cell in lines[0][1]]
    columns = _columns(path, header, lines[1:], labelled)
    names = [normal(cell) for cell in lines[0][1]]
    outcomes = [_row(number, cells, columns, names, path.parent, labelled) for number, cells in lines[1:]]
    rows = [row for row in outcomes if isinstance(row, _Row)]
    bad = [row for row in outcomes if isinstance(row, BadFile)]
    if not rows:
        first = f": {bad[0].name}: {bad[0].reason}" if bad else ""
        raise VitrailError(
            f"none of the {len(lines) - 1} rows of {path} can be used{first}; paths are relative to {path.parent}/"
        )
    return _source(path, rows, bad, columns, names)


def _source(path: Path, rows: list[_Row], bad: list[BadFile], columns: _Columns, names: list[str]) -> Source:
    many = columns.flags or any(len(row.labels) > 1 for row in rows)
    if columns.flags:
        class_names = tuple(names[i] for i in columns.flags)
    else:
        class_names = order_classes((label for row in rows for label in row.labels), str(path))
    index = {name: i for i, name in enumerate(class_names)}
    samples = tuple(
        Sample(
            row.name,
            tuple(sorted({index[label] for label in row.labels})),
            row.split,
            FileAt(os.path.join(path.parent, row.name)),
        )
        for row in rows
    )
    return Source(str(path), class_names, samples, MULTI_LABEL if many else CLASSIFICATION, tuple(bad))


def _read(path: Path) -> list[tuple[int, list[str]]]:
    """(line number, cells) of every row that is not empty, the header first."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            delimiter = max(",;\t", key=first.count)
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except UnicodeDecodeError as error:
        raise VitrailError(f"{path} is not UTF-8 text: save it as CSV UTF-8") from error
    except csv.Error as error:
        raise VitrailError(f"{path} is not a CSV: {error}") from error
    if len(lines) < 2:
        raise VitrailError(f"{path} holds no rows: it needs a header (path,label) and a row for each image")
    return lines


def _columns(path: Path, header: list[str], lines: list[tuple[int, list[str]]], labelled: bool) -> _Columns:
    def find(names: tuple[str, ...]) -> int | None:
        return next((header.index(name) for name in names if name in header), None)

    path_column, label, split = find(PATH_COLUMNS), find(LABEL_COLUMNS), find(SPLIT_COLUMNS)
    if path_column is None:
        raise VitrailError(f"{path} has no path column among {', '.join(header)}: call it {PATH_COLUMNS[0]}")
    if label is not None or not labelled:
        return _Columns(path_column, label, split, ())
    others = [i for i in range(len(header)) if i not in (path_column, split)]
    flags = [i for i in others if all(len(cells) > i and cells[i].strip() in ("0", "1") for _, cells in lines)]
    if len(flags) < 2:
        raise VitrailError(
            f"{path} has no label column among {', '.join(header)}: call it {LABEL_COLUMNS[0]}, or give "
            "two or more columns of 0 and 1, one for each class"
        )
    return _Columns(path_column, None, split, tuple(flags))


def _row(
    number: int, cells: list[str], columns: _Columns, names: list[str], base: Path, labelled: bool
) -> _Row | BadFile:
    name = cells[columns.path].strip() if columns.path < len(cells) else ""
    problem = next(_problems(number, name, cells, columns, names, base, labelled), None)
    if problem:
        return BadFile(name or f"line {number}", f"{problem} (line {number})")
    split = None if columns.split is None else SPLIT_WORDS[cells[columns.split].strip().lower()]
    if columns.flags:
        return _Row(name, tuple(names[i] for i in columns.flags if cells[i].strip() == "1"), split)
    return _Row(name, _labels(cells, columns) if labelled else (), split)


def _problems(
    number: int, name: str, cells: list[str], columns: _Columns, names: list[str], base: Path, labelled: bool
) -> Iterator[str]:
    """What is wrong with a row, one clause each."""
    if len(cells) != len(names):
        yield f"{len(cells)} cells, where the header has {len(names)}"
    elif not name:
        yield "no path"
    elif not os.path.isfile(os.path.join(base, name)):
        yield "no such file"
    elif labelled and not columns.flags and not _labels(cells, columns):
        yield "no label"
    elif columns.split is not None and cells[columns.split].strip().lower() not in SPLIT_WORDS:
        yield f"split {cells[columns.split]!r} is none of train, val, test"


def _labels(cells: list[str], columns: _Columns) -> tuple[str, ...]:
    if columns.label is None:
        return ()
    parts = cells[columns.label].replace(";", "|").split("|")
    return tuple(label for label in map(normal, parts) if label)
