"""Infers the role of each column of a CSV: path, label or numbers, split."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import VitrailError
from ..task_spec import CLASSIFICATION, MULTI_LABEL, REGRESSION, TaskSpec
from .samples import LabelKind, normal, takes_many

PATH_COLUMNS = ("path", "file", "filename", "file_name", "filepath", "image", "image_path", "img")
LABEL_COLUMNS = ("label", "labels", "class", "classes", "class_name", "target", "targets", "category")
SPLIT_COLUMNS = ("split", "set", "subset", "partition")

_MOSTLY = 0.9
"""Least fraction of numbers among the filled cells of a column of numbers; other cells are reported as mistakes."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Roles of the columns, by index.

    Attributes:
        path: the column of paths.
        split: the column of splits, if there is one.
        label: the column of class names; None if `values` are used, or no labels.
        values: columns of 0 and 1 for one class each, or of numbers.
        kind: whether labels are classes or numbers.
        task: task of the labels.
        note: a sentence about what was inferred.
    """

    path: int
    split: int | None
    label: int | None = None
    values: tuple[int, ...] = ()
    kind: LabelKind = "classes"
    task: TaskSpec = CLASSIFICATION
    note: str = ""


def find_columns(
    path: Path, names: Sequence[str], rows: Sequence[Sequence[str]], *, labelled: bool, task: TaskSpec | None
) -> Columns:
    """Find the columns of a table.

    Args:
        path: the CSV, for messages.
        names: names of the columns.
        rows: cells of every row; some rows may be too short.
        labelled: whether to find labels.
        task: task given by the user; None infers it. A label column with fractions is regression of one number,
            other labels are classes; several columns without one of them called label are regression of as many
            numbers if one of them has fractions, or one class each if they have 0 and 1 only.

    Raises:
        VitrailError: there is no path column, or no labels; the message lists the columns.
    """
    header = [name.lower() for name in names]
    places = [_first(header, known) for known in (PATH_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS)]
    path_column, label, split = places
    if path_column is None:
        raise VitrailError(f"{path} has no path column among {', '.join(header)}: call it {PATH_COLUMNS[0]}")
    if not labelled:
        return Columns(path_column, split)
    found = _Table(path, names, rows, path_column, split)
    return found.one(label, task) if label is not None else found.several(task)


@dataclass(frozen=True, slots=True)
class _Table:
    path: Path
    names: Sequence[str]
    rows: Sequence[Sequence[str]]
    path_column: int
    split: int | None

    def one(self, label: int, task: TaskSpec | None) -> Columns:
        """Labels in a column named as such."""
        wants_numbers = task is not None and task.name == REGRESSION.name
        wants_classes = task is not None and task.name == CLASSIFICATION.name
        name = self.names[label]
        if wants_numbers or (not wants_classes and self._has_fractions(label)):
            return self._numbers((label,), task)
        if task is not None:
            return Columns(self.path_column, self.split, label, task=task)
        many = any(len(labels(row[label])) > 1 for row in self.rows if len(row) > label)
        note = f"several classes for each image, from column {name}" if many else f"classes from column {name}"
        found = MULTI_LABEL if many else CLASSIFICATION
        return Columns(self.path_column, self.split, label, task=found, note=f"task classification: {note}")

    def several(self, task: TaskSpec | None) -> Columns:
        """Labels in all columns of numbers."""
        others = [i for i, name in enumerate(self.names) if name and i not in (self.path_column, self.split)]
        numbers = tuple(i for i in others if self._is_numeric(i))
        flags = tuple(i for i in others if self._cells(i) <= {"0", "1"})
        name = task.name if task is not None else ""
        if numbers and (name == REGRESSION.name or (name != CLASSIFICATION.name and self._any_fraction(numbers))):
            return self._numbers(numbers, task)
        if name == REGRESSION.name:
            raise VitrailError(
                f"{self.path} has no column of numbers among {', '.join(self.names)}, which task {name} needs: "
                "add one, or leave --task out"
            )
        if len(flags) < 2:
            raise VitrailError(self._nothing(numbers))
        if task is not None and name == CLASSIFICATION.name and not takes_many(task):
            raise VitrailError(
                f"{self.path} has no label column among {', '.join(self.names)}, and its columns of 0 and 1 are "
                f"several classes for each image: use --task {MULTI_LABEL}"
            )
        classes = ", ".join(self.names[i] for i in flags)
        note = f"task classification: several classes for each image, from the columns of 0 and 1: {classes}"
        return Columns(self.path_column, self.split, None, flags, task=task or MULTI_LABEL, note="" if task else note)

    def _numbers(self, columns: tuple[int, ...], task: TaskSpec | None) -> Columns:
        plural = "column" if len(columns) == 1 else "columns"
        note = f"task regression: numbers from {plural} {', '.join(self.names[i] for i in columns)}"
        spec = task or REGRESSION
        return Columns(self.path_column, self.split, None, columns, "numbers", spec, "" if task else note)

    def _nothing(self, numbers: tuple[int, ...]) -> str:
        ways = f"call it {LABEL_COLUMNS[0]}, or give two or more columns of 0 and 1, one for each class"
        if numbers:
            ways += f"; to predict the numbers of {', '.join(self.names[i] for i in numbers)} use --task {REGRESSION}"
        return f"{self.path} has no label column among {', '.join(self.names)}: {ways}"

    def _cells(self, column: int) -> set[str]:
        return {row[column].strip() if column < len(row) else "" for row in self.rows}

    def _any_fraction(self, columns: tuple[int, ...]) -> bool:
        return any(self._has_fractions(column) for column in columns)

    def _is_numeric(self, column: int) -> bool:
        filled = [cell for row in self.rows if column < len(row) and (cell := row[column].strip())]
        return bool(filled) and sum(number(cell) is not None for cell in filled) >= _MOSTLY * len(filled)

    def _has_fractions(self, column: int) -> bool:
        values = (number(cell) for cell in self._cells(column))
        return self._is_numeric(column) and any(value is not None and not value.is_integer() for value in values)


def number(cell: str) -> float | None:
    """Parse a cell as a finite number; None if it is not one."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in cell else None


def labels(cell: str) -> list[str]:
    """Split a cell into class names, which are separated by | or ;."""
    return [name for name in map(normal, cell.replace(";", "|").split("|")) if name]


def _first(header: Sequence[str], names: tuple[str, ...]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)
