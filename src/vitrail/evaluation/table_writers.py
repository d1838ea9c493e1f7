"""One writer for each format of a table of predictions: a context manager that yields a function, which adds a row."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import IO, Any

from ..errors import VitrailError
from ..tasks.outcomes import Prediction
from .prediction_layout import Layout

Add = Callable[[Prediction], None]
"""Adds a row to a table."""

Writer = Callable[[Layout, IO[Any]], AbstractContextManager[Add]]

_ROWS_PER_GROUP = 4096
_MOST_ROWS = 1_048_576
"""Rows of a sheet in Excel's format, the header included."""

_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@contextmanager
def _csv(layout: Layout, file: IO[Any], *, delimiter: str = ",") -> Iterator[Add]:
    writer = csv.writer(file, lineterminator="\n", delimiter=delimiter)
    writer.writerow(layout.columns())
    yield lambda prediction: writer.writerow([_text(cell) for cell in layout.cells(prediction)])


def _tsv(layout: Layout, file: IO[Any]) -> AbstractContextManager[Add]:
    return _csv(layout, file, delimiter="\t")


def _text(cell: str | float | None) -> str:
    if cell is None:
        return ""
    return f"{cell:.7g}" if isinstance(cell, float) else cell


@contextmanager
def _jsonl(layout: Layout, file: IO[Any]) -> Iterator[Add]:
    yield lambda prediction: print(_json_row(layout, prediction), file=file)


@contextmanager
def _json(layout: Layout, file: IO[Any]) -> Iterator[Add]:
    if (document := layout.task.document(layout.names, layout.ids)) is not None:
        yield document.add
        file.write(json.dumps(document.content(), ensure_ascii=False) + "\n")
        return
    between = "[\n"

    def add(prediction: Prediction) -> None:
        nonlocal between
        file.write(between + _json_row(layout, prediction))
        between = ",\n"

    yield add
    file.write("[]\n" if between == "[\n" else "\n]\n")


def _json_row(layout: Layout, prediction: Prediction) -> str:
    return json.dumps(layout.to_dict(prediction), ensure_ascii=False)


@contextmanager
def _parquet(layout: Layout, file: IO[Any]) -> Iterator[Add]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise VitrailError('Parquet needs pyarrow: pip install "vitrail[parquet]", or use --format csv') from error
    columns = layout.columns()
    schema = pa.schema([(name, pa.float32() if kind is float else pa.string()) for name, kind in columns.items()])
    rows: list[list[str | float | None]] = []
    with parquet.ParquetWriter(file, schema) as writer:

        def flush() -> None:
            values = {name: [row[index] for row in rows] for index, name in enumerate(columns)}
            writer.write_table(pa.table(values, schema=schema))
            rows.clear()

        def add(prediction: Prediction) -> None:
            rows.append([_utf8(cell) for cell in layout.cells(prediction)])
            if len(rows) == _ROWS_PER_GROUP:
                flush()

        yield add
        if rows:
            flush()


def _utf8(cell: str | float | None) -> str | float | None:
    """Replace bytes that are not UTF-8, which Parquet's strings cannot have."""
    return cell.encode("utf-8", "replace").decode() if isinstance(cell, str) else cell


@contextmanager
def _xlsx(layout: Layout, file: IO[Any]) -> Iterator[Add]:
    try:
        from openpyxl import Workbook
        from openpyxl.cell import WriteOnlyCell
    except ImportError as error:
        raise VitrailError('Excel workbooks need openpyxl: pip install "vitrail[xlsx]", or use --format csv') from error
    book = Workbook(write_only=True)
    sheet = book.create_sheet("predictions")
    count = 0

    def cell_of(value: str | float | None) -> Any:
        if not isinstance(value, str):
            return value
        cell = WriteOnlyCell(sheet, _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", value))
        cell.data_type = "s"  # text that begins with = is no formula
        return cell

    def add_row(cells: list[str | float | None]) -> None:
        nonlocal count
        count += 1
        if count > _MOST_ROWS:
            raise VitrailError(f"an Excel sheet has at most {_MOST_ROWS:,} rows: use .csv or .parquet for more images")
        sheet.append([cell_of(cell) for cell in cells])

    add_row(list(layout.columns()))
    yield lambda prediction: add_row(layout.cells(prediction))
    whole = io.BytesIO()  # where saving fails, such as on a full disk, openpyxl leaves an open archive behind
    book.save(whole)
    file.write(whole.getbuffer())


WRITERS: dict[str, Writer] = {
    "csv": _csv,
    "tsv": _tsv,
    "json": _json,
    "jsonl": _jsonl,
    "parquet": _parquet,
    "xlsx": _xlsx,
}
