"""Writes predictions as a table: CSV, Parquet or JSON Lines.

CSV and Parquet have a row for each image and the columns

    path, ..., error

with the task's own columns between them: for a classifier class, probability, class_2, probability_2, ..., class_k,
probability_k; for a regression one for each number. Cells without a value are empty (Parquet: null). JSON Lines has an
object for each image:

    {"path": "a.png", "classes": [{"class": "cat", "probability": 0.98}, ...], "error": null}
"""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

from ..errors import VitrailError
from ..tables import complete_file
from ..tasks.task import Prediction, Task

Format = Literal["csv", "jsonl", "parquet"]

_ROWS_PER_GROUP = 4096


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns of a table of predictions.

    Attributes:
        task: defines the columns and the cells.
        names: names of the model's outputs.
        top_k: number of classes in a row.
    """

    task: Task
    names: Sequence[str]
    top_k: int

    def columns(self) -> dict[str, type[str] | type[float]]:
        """Column -> type of its cells."""
        # An output may be named like one of the two fixed columns.
        own = {
            f"predicted_{name}" if name in ("path", "error") else name: kind
            for name, kind in self.task.columns(self.names, self.top_k).items()
        }
        return {"path": str, **own, "error": str}

    def cells(self, prediction: Prediction) -> list[str | float | None]:
        """Cells of one row."""
        return [prediction.path, *self.task.cells(prediction, self.names, self.top_k), prediction.error]


def write_table(
    predictions: Iterable[Prediction], layout: Layout, form: Format = "csv", output: Path | None = None
) -> None:
    """Write predictions one by one, to a file or to standard output.

    A file is named NAME.part until it is complete.

    Raises:
        VitrailError: Parquet without a file, or without its library.
    """
    if form == "parquet" and output is None:
        raise VitrailError("parquet is not text: name a file with --out predictions.parquet")
    if output is None:
        _WRITERS[form](predictions, layout, sys.stdout)
        return
    with complete_file(output, mode="wb" if form == "parquet" else "w") as file:
        _WRITERS[form](predictions, layout, file)


def _write_csv(predictions: Iterable[Prediction], layout: Layout, file: IO[Any]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(layout.columns())
    for prediction in predictions:
        writer.writerow([_text(cell) for cell in layout.cells(prediction)])


def _text(cell: str | float | None) -> str:
    if cell is None:
        return ""
    return f"{cell:.7g}" if isinstance(cell, float) else cell


def _write_jsonl(predictions: Iterable[Prediction], layout: Layout, file: IO[Any]) -> None:
    for prediction in predictions:
        row = {"path": prediction.path, **layout.task.to_dict(prediction), "error": prediction.error}
        print(json.dumps(row, ensure_ascii=False), file=file)


def _write_parquet(predictions: Iterable[Prediction], layout: Layout, file: IO[Any]) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise VitrailError('Parquet needs pyarrow: pip install "vitrail[parquet]", or use --format csv') from error
    columns = layout.columns()
    schema = pa.schema([(name, pa.float32() if kind is float else pa.string()) for name, kind in columns.items()])
    with parquet.ParquetWriter(file, schema) as writer:
        for group in _groups(predictions):
            rows = [[_utf8(cell) for cell in layout.cells(prediction)] for prediction in group]
            values = {name: [row[index] for row in rows] for index, name in enumerate(columns)}
            writer.write_table(pa.table(values, schema=schema))


def _utf8(cell: str | float | None) -> str | float | None:
    """Replace bytes that are not UTF-8, which Parquet's strings cannot have."""
    return cell.encode("utf-8", "replace").decode() if isinstance(cell, str) else cell


def _groups(predictions: Iterable[Prediction]) -> Iterator[list[Prediction]]:
    rest = iter(predictions)
    while group := list(islice(rest, _ROWS_PER_GROUP)):
        yield group


_WRITERS: dict[Format, Callable[[Iterable[Prediction], Layout, IO[Any]], None]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
}
