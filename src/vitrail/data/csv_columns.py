"""Infers the role of each column of a CSV: path, label or numbers, split."""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import VitrailError
from ..task_spec import CLASSIFICATION, MULTI_LABEL, REGRESSION, TaskSpec
from .label_cells import Separator, find_separator, labels
from .samples import LabelKind, takes_many

PATH_COLUMNS = (
    "path", "file", "filename", "file_name", "filepath", "image", "image_path", "img", "image_name", "image_file",
    "img_path", "img_name", "image_id", "id_code", "id",
)  # fmt: skip
"""Names of columns, in lower case; of several the first is used, so that an id is one only where there is no other."""
LABEL_COLUMNS = ("label", "labels", "class", "classes", "class_name", "target", "targets", "category")
SPLIT_COLUMNS = ("split", "set", "subset", "partition")
FOLD_COLUMNS = ("fold", "folds", "kfold", "k_fold", "cv_fold", "fold_id", "is_valid", "is_val", "is_test", "is_train")
INDEX_COLUMNS = ("id", "index", "idx", "image_id", "row", "comment_number", "unnamed: 0")

_FLAGS = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
_FEW = 0.1
"""Largest fraction of other numbers in a column of 0 and 1; with more it is a column of numbers."""


_NAMED = 30
"""Number of columns that a message lists."""


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
        separator: what separates the classes in a cell of `label`.
        notes: sentences about what was inferred, and about columns that are not used.
    """

    path: int
    split: int | None
    label: int | None = None
    values: tuple[int, ...] = ()
    kind: LabelKind = "classes"
    task: TaskSpec = CLASSIFICATION
    separator: Separator = ""
    notes: tuple[str, ...] = ()


def find_columns(
    path: Path, names: Sequence[str], rows: Sequence[Sequence[str]], *, labelled: bool, task: TaskSpec | None
) -> Columns:
    """Find the columns of a table.

    A column is what more than half of its cells are; the other cells are mistakes, which make their rows bad.

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
        raise VitrailError(f"{path} has no path column among {_listed(names)}: {no_path_way(names)}")
    if doubled := next((header[i] for i in places if i is not None and header.count(header[i]) > 1), None):
        raise VitrailError(f"{path} has two columns called {doubled}: keep one")
    if not labelled:
        return Columns(path_column, split)
    found = _Table(path, names, rows, path_column, split)
    columns = found.one(label, task) if label is not None else found.several(task)
    used = Counter(names[i] for i in columns.values)
    if twice := [name for name, count in used.items() if count > 1]:
        raise VitrailError(f"{path} has two columns called {twice[0]}: give each class or number a name of its own")
    return columns


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
        cells = [row[label] for row in self.rows if len(row) > label]
        separator, doubt = find_separator(cells, name, None if task is None else takes_many(task))
        notes = (*((doubt,) if doubt else ()), *self._folds())
        if task is not None:
            return Columns(self.path_column, self.split, label, task=task, separator=separator, notes=notes)
        many = any(len(labels(cell, separator)) > 1 for cell in cells)
        note = f"several classes for each image, from column {name}" if many else f"classes from column {name}"
        notes = (f"task classification: {note}", *notes)
        inferred = MULTI_LABEL if many else CLASSIFICATION
        return Columns(self.path_column, self.split, label, task=inferred, separator=separator, notes=notes)

    def several(self, task: TaskSpec | None) -> Columns:
        """Labels in all columns of numbers."""
        others = self._others()
        flags = tuple(i for i in others if self._is_flags(i))
        numbers = tuple(i for i in others if self._most(i, is_number) or i in flags)
        name = task.name if task is not None else ""
        fractions = any(self._has_fractions(i) for i in numbers if i not in flags)
        if numbers and (name == REGRESSION.name or (name != CLASSIFICATION.name and fractions)):
            return self._numbers(numbers, task, self._sparse())
        if name == REGRESSION.name:
            raise VitrailError(
                f"{self.path} has no column of numbers among {_listed(self.names)}, which task {name} needs: "
                f"{self._decimal_commas() or 'add one, or leave --task out'}"
            )
        if len(flags) < 2:
            raise VitrailError(self._nothing(numbers))
        if task is not None and name == CLASSIFICATION.name and not takes_many(task):
            raise VitrailError(
                f"{self.path} has no label column among {_listed(self.names)}, and its columns of 0 and 1 are "
                f"several classes for each image: use --task {MULTI_LABEL}"
            )
        classes = _listed([self.names[i] for i in flags])
        note = f"task classification: several classes for each image, from the columns of 0 and 1: {classes}"
        notes = (*(() if task else (note,)), *self._folds(), *self._sparse())
        return Columns(self.path_column, self.split, None, flags, task=task or MULTI_LABEL, notes=notes)

    def _numbers(self, columns: tuple[int, ...], task: TaskSpec | None, more: Sequence[str] = ()) -> Columns:
        plural = "column" if len(columns) == 1 else "columns"
        note = f"task regression: numbers from {plural} {_listed([self.names[i] for i in columns])}"
        notes = (*(() if task else (note,)), *self._folds(), *more)
        return Columns(self.path_column, self.split, None, columns, "numbers", task or REGRESSION, notes=notes)

    def _nothing(self, numbers: tuple[int, ...]) -> str:
        ways = f"call it {LABEL_COLUMNS[0]}, or give two or more columns of 0 and 1, one for each class"
        ways = self._decimal_commas() or ways
        if numbers:
            ways += f"; to predict the numbers of {_listed([self.names[i] for i in numbers])} use --task {REGRESSION}"
        return f"{self.path} has no label column among {_listed(self.names)}: {ways}"

    def _decimal_commas(self) -> str:
        """How to mend columns of numbers such as 0,5; "" if there are none."""
        columns = [self.names[i] for i in self._others() if self._most(i, _has_decimal_comma)]
        return f"write the numbers of {_listed(columns)} with a decimal point, 0.5" if columns else ""

    def _others(self) -> list[int]:
        """Columns that can be classes or numbers, by their names."""
        reserved = {*FOLD_COLUMNS, *INDEX_COLUMNS, ""}
        return [
            i
            for i, name in enumerate(self.names)
            if name.lower() not in reserved and i not in (self.path_column, self.split)
        ]

    def _folds(self) -> list[str]:
        """Sentences about columns that may be meant as a split."""
        return [
            f"column {name} is not used: to split by it, call it split and write train, val or test in it"
            for i, name in enumerate(self.names)
            if name.lower() in FOLD_COLUMNS and i != self.split
        ]

    def _sparse(self) -> list[str]:
        """Sentences about columns of numbers that are no labels because most of their cells are empty."""
        notes = []
        for i in self._others():
            filled = [row[i] for row in self.rows if i < len(row) and row[i].strip()]
            if not filled:
                notes.append(f"column {self.names[i]} is not used: it is empty")
            if filled and 2 * len(filled) <= len(self.rows) and all(map(is_number, filled)):
                notes.append(f"column {self.names[i]} is not used: most of its cells are empty")
        return notes

    def _most(self, column: int, test: Callable[[str], bool]) -> bool:
        """Whether more than half of the cells of a column pass a test."""
        return 2 * sum(test(row[column]) for row in self.rows if column < len(row)) > len(self.rows)

    def _is_flags(self, column: int) -> bool:
        """Whether a column has 0 and 1, with a few mistakes."""
        cells = [row[column] for row in self.rows if column < len(row)]
        values = [number(cell) for cell in cells if flag(cell) is None]
        others = sum(value is not None and value != -1 for value in values)  # -1 is often "not known"
        return self._most(column, lambda cell: flag(cell) is not None) and others <= max(1, _FEW * len(self.rows))

    def _has_fractions(self, column: int) -> bool:
        values = (number(row[column]) for row in self.rows if column < len(row))
        return self._most(column, is_number) and any(v is not None and not v.is_integer() for v in values)


def no_path_way(names: Sequence[str]) -> str:
    """What to do about a table without a path column; its first line may be an image rather than a header."""
    is_row = any(re.search(r"\.(jpe?g|png|tiff?|bmp|webp)\b", name, re.IGNORECASE) for name in names)
    first = f"write a header above its first line, such as {PATH_COLUMNS[0]},label, and commas between the cells"
    return first if is_row else f"call it {PATH_COLUMNS[0]}"


def number(cell: str) -> float | None:
    """Parse a cell as a finite number; None if it is not one."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in cell else None


def is_number(cell: str) -> bool:
    """Whether a cell is a finite number."""
    return number(cell) is not None


def _has_decimal_comma(cell: str) -> bool:
    return cell.count(",") == 1 and is_number(cell.replace(",", "."))


def flag(cell: str) -> bool | None:
    """Parse a cell as 0 or 1, which may be written 1.0 or true; None if it is neither."""
    return _FLAGS.get(cell.strip().lower())


def _listed(names: Sequence[str]) -> str:
    """The first of many names."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _first(header: Sequence[str], names: tuple[str, ...]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)
