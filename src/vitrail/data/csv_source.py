"""Sources in a CSV file: paths with classes or numbers."""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import VitrailError
from ..task_spec import CLASSIFICATION, TaskSpec
from .csv_columns import Columns, find_columns, labels, number
from .samples import SPLIT_WORDS, BadFile, FileAt, Sample, Source, Split, normal, order_classes, takes_many


@dataclass(frozen=True, slots=True)
class _Line:
    """A usable row: path, class names or numbers, and split."""

    name: str
    labels: tuple[Any, ...]
    split: Split | None


def csv_source(path: Path, *, labelled: bool = True, task: TaskSpec | None = None) -> Source:
    """Open a CSV with a header: a path column, a label column or columns of numbers, optionally a split column.

    Columns are known by their names, in any case (see `csv_columns`). Several labels in one cell are separated by `|`
    or `;`. Without a label column, two or more columns of 0 and 1 are one class each, and columns of numbers of which
    one has fractions are the targets of a regression. Cells are separated by comma, semicolon or tab. Paths are
    relative to the CSV. Rows that cannot be used (no such file, no label, no number, unknown split) become bad files.

    Args:
        path: the file.
        labelled: whether labels are read.
        task: task of the labels; None infers it.

    Raises:
        VitrailError: not a table, no path column, no labels, or no usable row.
    """
    lines = _read(path)
    names = [normal(cell) for cell in lines[0][1]]
    columns = find_columns(path, names, [cells for _, cells in lines[1:]], labelled=labelled, task=task)
    reader = _Reader(columns, names, path.parent, labelled)
    outcomes = [reader.read(number, cells) for number, cells in lines[1:]]
    used = [line for line in outcomes if isinstance(line, _Line)]
    bad = [line for line in outcomes if isinstance(line, BadFile)]
    if not used:
        first = f": {bad[0].name}: {bad[0].reason}" if bad else ""
        raise VitrailError(
            f"none of the {len(lines) - 1} rows of {path} can be used{first}; paths are relative to {path.parent}/"
        )
    return _source(path, used, bad, columns, names)


def _source(path: Path, used: list[_Line], bad: list[BadFile], columns: Columns, names: list[str]) -> Source:
    if columns.values:
        class_names = tuple(names[i] for i in columns.values)
    else:
        class_names = order_classes((label for line in used for label in line.labels), str(path))
    index = {name: i for i, name in enumerate(class_names)}

    def sample(line: _Line) -> Sample:
        found = line.labels if columns.kind == "numbers" else tuple(sorted({index[label] for label in line.labels}))
        return Sample(line.name, found, line.split, FileAt(os.path.join(path.parent, line.name)))

    return Source(
        str(path),
        class_names,
        tuple(sample(line) for line in used),
        columns.task,
        tuple(bad),
        label_kind=columns.kind,
        notes=(columns.note,) if columns.note else (),
    )


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
        raise VitrailError(f"{path} has no rows: it needs a header (path,label) and a row for each image")
    return lines


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one row after the other."""

    columns: Columns
    names: list[str]
    base: Path
    labelled: bool

    def read(self, line: int, cells: list[str]) -> _Line | BadFile:
        name = cells[self.columns.path].strip() if self.columns.path < len(cells) else ""
        problem = next(self._problems(name, cells), None)
        if problem:
            return BadFile(name or f"line {line}", f"{problem} (line {line})")
        split = None if self.columns.split is None else SPLIT_WORDS[cells[self.columns.split].strip().lower()]
        return _Line(name, self._labels(cells), split)

    def _labels(self, cells: list[str]) -> tuple[Any, ...]:
        columns = self.columns
        if columns.kind == "numbers":
            return tuple(float(cells[i]) for i in columns.values)
        if columns.values:
            return tuple(self.names[i] for i in columns.values if cells[i].strip() == "1")
        return () if columns.label is None else tuple(labels(cells[columns.label]))

    def _problems(self, name: str, cells: list[str]) -> Iterator[str]:
        """Yield the faults of a row, a clause each."""
        columns = self.columns
        if len(cells) != len(self.names):
            yield f"{len(cells)} cells, where the header has {len(self.names)}"
        elif not name:
            yield "no path"
        elif not os.path.isfile(os.path.join(self.base, name)):
            yield "no such file"
        else:
            yield from self._label_problems(cells)
            if columns.split is not None and cells[columns.split].strip().lower() not in SPLIT_WORDS:
                yield f"split {cells[columns.split]!r} is none of train, val, test"

    def _label_problems(self, cells: list[str]) -> Iterator[str]:
        columns = self.columns
        if columns.kind == "numbers":
            for i in columns.values:
                if not cells[i].strip():
                    yield f"column {self.names[i]} is empty"
                elif number(cells[i]) is None:
                    yield f"column {self.names[i]} has {cells[i].strip()!r}, which is not a number"
        elif columns.label is not None:
            found = labels(cells[columns.label])
            if not found:
                yield "no label"
            elif len(found) > 1 and columns.task.name == CLASSIFICATION.name and not takes_many(columns.task):
                yield f"{len(found)} labels, where the task takes one"
