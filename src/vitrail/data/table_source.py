"""Sources in tables: paths with classes, numbers or captions."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import VitrailError
from ..task_spec import CLASSIFICATION, VIDEO, TaskSpec
from .caption_table import caption_column, caption_lines, caption_rows
from .clip_source import clip_at
from .csv_columns import Columns, find_columns, flag, number
from .label_cells import is_empty_list, labels
from .named_images import NamedImages, named_for
from .samples import SPLIT_WORDS, BadFile, Sample, Source, Split, order_classes, takes_many
from .table import Table, read_csv, read_json_lines, read_tokens


@dataclass(frozen=True, slots=True)
class _Line:
    """A usable row: path, class names or numbers, and split."""

    name: str
    labels: tuple[Any, ...]
    split: Split | None


def csv_source(path: Path, labelled: bool = True, task: TaskSpec | None = None) -> Source:
    """Open a CSV with a header: a path column, a label column or columns of numbers, optionally a split column.

    Columns are known by their names, in any case (see `csv_columns`). Several labels in one cell are separated by `|`
    or `;`, or are a list (see `label_cells`). Without a label column, two or more columns of 0 and 1 are one class
    each, and columns of numbers of which one has fractions are the targets of a regression. Cells are separated by
    comma, semicolon, tab or |; the first line may name the separator, as in `sep=;`. Paths are relative to the CSV,
    with slashes or backslashes, or names of images in folders below it (see `NamedImages`). Rows that cannot be used
    (no such file, no label, no number, unknown split) become bad files.

    Args:
        path: the file.
        labelled: whether labels are read.
        task: task of the labels; None infers it.

    Raises:
        VitrailError: not a table, no path column, no labels, or no usable row.
    """
    return table_source(read_csv(path), labelled, task)


def json_source(path: Path, labelled: bool = True, task: TaskSpec | None = None) -> Source:
    """Open JSON lines, whose keys are the columns of a table, as `csv_source` does; captions may be lists.

    Raises:
        VitrailError: no object, no path column, no labels, or no usable row.
    """
    table = read_json_lines(path)
    if caption_column(path, table.names, table.rows, task if labelled else None) is not None:
        return caption_lines(path, task)
    return table_source(table, labelled, task)


def token_source(path: Path, labelled: bool = True, task: TaskSpec | None = None) -> Source:
    """Open a file of captions, see `read_tokens`.

    Raises:
        VitrailError: no line has a name and a caption, or no image is there.
    """
    return table_source(read_tokens(path), labelled, task)


def table_source(table: Table, labelled: bool = True, task: TaskSpec | None = None) -> Source:
    """Open a table as `csv_source` does.

    Raises:
        VitrailError: no path column, no labels, or no usable row.
    """
    is_video = task is not None and task.name == VIDEO.name
    task = CLASSIFICATION if is_video else task  # the same columns
    column = caption_column(table.path, table.names, table.rows, task) if labelled else None
    if column is not None:
        return caption_rows(table, column, task)
    columns = find_columns(table.path, table.names, table.rows, labelled=labelled, task=task)
    names = (cells[columns.path] for cells in table.rows if columns.path < len(cells))
    images = NamedImages(table.base, names, named_for(table.path), folders=is_video)
    reader = _Reader(columns, table.names, images)
    outcomes = [reader.read(number, cells) for number, cells in table.lines]
    used = [line for line in outcomes if isinstance(line, _Line)]
    bad = [*table.bad, *(line for line in outcomes if isinstance(line, BadFile))]
    if not used:
        first = f": {bad[0].name}: {bad[0].reason}" if bad else ""
        raise VitrailError(
            f"none of the {len(table.lines)} rows of {table.path} can be used{first}; "
            f"paths are relative to {table.base}/"
        )
    return _source(table, used, bad, replace(columns, notes=(*columns.notes, *images.notes)))


def _source(table: Table, used: list[_Line], bad: list[BadFile], columns: Columns) -> Source:
    name = str(table.path)
    if columns.values:
        class_names = tuple(table.names[i] for i in columns.values)
    else:
        class_names = order_classes((label for line in used for label in line.labels), name)
        _require_one_spelling(class_names, name)
    index = {name: i for i, name in enumerate(class_names)}

    def sample(line: _Line) -> Sample:
        found = line.labels if columns.kind == "numbers" else tuple(sorted({index[label] for label in line.labels}))
        return Sample(line.name, found, line.split, clip_at(os.path.join(table.base, line.name)))

    samples = tuple(sample(line) for line in used)
    return Source(name, class_names, samples, columns.task, tuple(bad), label_kind=columns.kind, notes=columns.notes)


def _require_one_spelling(class_names: tuple[str, ...], where: str) -> None:
    """Raise VitrailError for the classes 1 and 1.0, which are one if a program has written some numbers as floats."""
    known = set(class_names)
    for name in class_names:
        if name.isdecimal() and f"{name}.0" in known:
            raise VitrailError(f"the classes {name} and {name}.0 of {where} are one number: give them one spelling")


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one row after the other."""

    columns: Columns
    names: list[str]
    images: NamedImages

    def read(self, line: int, cells: list[str]) -> _Line | BadFile:
        name = cells[self.columns.path].strip() if self.columns.path < len(cells) else ""
        name, missing = self.images.find(name) if name else ("", "no path")
        if problem := next(self._problems(missing, cells), None):
            return BadFile(name or f"line {line}", f"{problem} (line {line})")
        split = None if self.columns.split is None else SPLIT_WORDS[cells[self.columns.split].strip().lower()]
        return _Line(name, self._labels(cells), split)

    def _labels(self, cells: list[str]) -> tuple[Any, ...]:
        columns = self.columns
        if columns.kind == "numbers":
            return tuple(float(cells[i]) for i in columns.values)
        if columns.values:
            return tuple(self.names[i] for i in columns.values if flag(cells[i]))
        return () if columns.label is None else tuple(labels(cells[columns.label], columns.separator))

    def _problems(self, missing: str, cells: list[str]) -> Iterator[str]:
        """Yield the faults of a row, a clause each; `missing`: why it has no file."""
        columns = self.columns
        if len(cells) != len(self.names):
            yield f"{len(cells)} cells, where the header has {len(self.names)}"
        elif missing:
            yield missing
        else:
            yield from self._value_problems(cells) if columns.values else self._label_problems(cells)
            if columns.split is not None and cells[columns.split].strip().lower() not in SPLIT_WORDS:
                yield f"split {cells[columns.split]!r} is none of train, val, test"

    def _value_problems(self, cells: list[str]) -> Iterator[str]:
        is_numbers = self.columns.kind == "numbers"
        for i in self.columns.values:
            if not cells[i].strip():
                yield f"column {self.names[i]} is empty"
            elif is_numbers and number(cells[i]) is None:
                yield f"column {self.names[i]} has {cells[i].strip()!r}, which is not a number"
            elif not is_numbers and flag(cells[i]) is None:
                yield f"column {self.names[i]} has {cells[i].strip()!r}, which is neither 0 nor 1"

    def _label_problems(self, cells: list[str]) -> Iterator[str]:
        columns = self.columns
        if columns.label is None:
            return
        found, many = labels(cells[columns.label], columns.separator), takes_many(columns.task)
        if not found and not (many and is_empty_list(cells[columns.label])):
            yield "no label: write [] if it has none of the classes" if many else "no label"
        elif len(found) > 1 and columns.task.name == CLASSIFICATION.name and not many:
            yield f"{len(found)} labels, where the task takes one"
