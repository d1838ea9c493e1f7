"""Writes predictions as a table: CSV, TSV, JSON, JSON Lines, Parquet or an Excel workbook.

A table has a row for each image and the columns

    path, label, ..., error

with the task's own columns between them: for a classifier class, probability, class_2, probability_2, ..., class_k,
probability_k; for a regression one for each number, and NAME_low and NAME_high for the ends of its interval. The true
label has a column if it is known for some of the images; for a regression there is one for each number, true_NAME.
Cells without a value are empty (Parquet: null). JSON (one list) and JSON Lines have an object for each image:

    {"path": "a.png", "label": "cat", "classes": [{"class": "cat", "probability": 0.98}, ...], "error": null}
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Literal, get_args

from ..errors import VitrailError
from ..tables import check_file, complete_file, make_parent
from ..tasks.outcomes import Prediction
from .prediction_layout import Layout
from .table_writers import WRITERS, Add

Format = Literal["csv", "tsv", "json", "jsonl", "parquet", "xlsx"]
"""Formats, each with the suffix of its name."""

_BINARY = ("parquet", "xlsx")


def table_format(form: Format | None, output: Path | None) -> Format:
    """Return the format of a table: the one that is given, or that of the file's suffix; CSV on standard output.

    Raises:
        VitrailError: an unknown suffix, a suffix of another format, or a format that is not text without a file; or
            the file cannot be written.
    """
    known: tuple[Format, ...] = get_args(Format)
    if output is None:
        if form in _BINARY:
            raise VitrailError(f"{form} is not text: name a file with --out predictions.{form}")
        return form or "csv"
    suffix = output.suffix.lower().removeprefix(".")
    of_suffix: Format | None = next((each for each in known if each == suffix), None)
    if of_suffix and form and form != of_suffix:
        raise VitrailError(f"{output} ends in .{suffix}, and --format is {form}: leave out one of the two")
    found = of_suffix or form
    if found is None:
        suffixes = ", ".join(f".{each}" for each in known)
        raise VitrailError(f"{output} has no suffix of a table: use one of {suffixes}, or add --format")
    check_file(output)
    return found


def write_table(
    predictions: Iterable[Prediction], layout: Layout, form: Format | None = None, output: Path | None = None
) -> None:
    """Write predictions one by one, to a file or to standard output, see `open_table`."""
    with open_table(layout, form, output) as add:
        for prediction in predictions:
            add(prediction)


def open_table(layout: Layout, form: Format | None = None, output: Path | None = None) -> AbstractContextManager[Add]:
    """Return a context manager that yields a function, which adds a row to a table.

    A file is named NAME.TOKEN.part until the block ends without an error.

    Args:
        layout: the columns.
        form: the format; by default that of the suffix of `output`.
        output: file to write; by default standard output.

    Raises:
        VitrailError: see `table_format`; or a library is missing.
    """
    return _opened(layout, table_format(form, output), output)


@contextmanager
def _opened(layout: Layout, form: Format, output: Path | None) -> Iterator[Add]:
    writer = WRITERS[form]
    if output is None:
        with writer(layout, sys.stdout) as add:
            yield add
        return
    make_parent(output)
    with complete_file(output, mode="wb" if form in _BINARY else "w") as file, writer(layout, file) as add:
        yield add
