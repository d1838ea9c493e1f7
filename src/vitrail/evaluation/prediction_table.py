"""Predictions as a table that other programs read.

CSV and Parquet have a row a picture and the columns

    path, class, probability, class_2, probability_2, ..., class_k, probability_k, error

with empty cells (Parquet: nulls) where there is nothing to say. JSON Lines has an object a picture:

    {"path": "a.png", "classes": [{"class": "cat", "probability": 0.98}, ...], "error": null}
"""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

from ..errors import VitrailError
from .predict import Prediction

Format = Literal["csv", "jsonl", "parquet"]

_ROWS_A_GROUP = 4096


def write_table(
    predictions: Iterable[Prediction], top_k: int, form: Format = "csv", output: Path | None = None
) -> None:
    """Write predictions as they come, to a file or to standard output.

    A file appears under its name when it is complete; until then it is called NAME.part.

    Raises:
        VitrailError: Parquet without a file, or without its library.
    """
    if form == "parquet" and output is None:
        raise VitrailError("parquet is not text: name a file with --out predictions.parquet")
    if output is None:
        _WRITERS[form](predictions, top_k, sys.stdout)
        return
    part = output.with_name(f"{output.name}.part")
    try:
        # Paths may hold bytes that are no UTF-8; they come out as they went in.
        with (
            part.open("wb")
            if form == "parquet"
            else part.open("w", encoding="utf-8", errors="surrogateescape", newline="")
        ) as file:
            _WRITERS[form](predictions, top_k, file)
        part.replace(output)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def columns(top_k: int) -> list[str]:
    """The columns of CSV and Parquet."""
    ranks = ["", *(f"_{rank}" for rank in range(2, top_k + 1))]
    return ["path", *(f"{word}{rank}" for rank in ranks for word in ("class", "probability")), "error"]


def _write_csv(predictions: Iterable[Prediction], top_k: int, file: IO[Any]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns(top_k))
    for row in predictions:
        cells = [cell for name, chance in row.classes for cell in (name, f"{chance:.6f}")]
        writer.writerow([row.path, *cells, *[""] * (2 * top_k - len(cells)), row.error or ""])


def _write_jsonl(predictions: Iterable[Prediction], top_k: int, file: IO[Any]) -> None:
    for row in predictions:
        classes = [{"class": name, "probability": round(chance, 6)} for name, chance in row.classes]
        print(
            json.dumps({"path": row.path, "classes": classes, "error": row.error}, ensure_ascii=False),
            file=file,
        )


def _write_parquet(predictions: Iterable[Prediction], top_k: int, file: IO[Any]) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise VitrailError('Parquet needs pyarrow: pip install "vitrail[parquet]", or use --format csv') from error
    names = columns(top_k)
    kinds = [pa.float32() if name.startswith("probability") else pa.string() for name in names]
    schema = pa.schema(list(zip(names, kinds, strict=True)))
    with parquet.ParquetWriter(file, schema) as writer:
        for group in _groups(predictions):
            rows = [_flat(row, top_k) for row in group]
            writer.write_table(
                pa.table({name: [row[i] for row in rows] for i, name in enumerate(names)}, schema=schema)
            )


def _flat(row: Prediction, top_k: int) -> list[Any]:
    cells = [cell for pair in row.classes for cell in pair]
    path = row.path.encode("utf-8", "replace").decode()  # Parquet's strings are UTF-8 without exception
    return [path, *cells, *[None] * (2 * top_k - len(cells)), row.error]


def _groups(predictions: Iterable[Prediction]) -> Iterator[list[Prediction]]:
    rest = iter(predictions)
    while group := list(islice(rest, _ROWS_A_GROUP)):
        yield group


_WRITERS: dict[Format, Callable[[Iterable[Prediction], int, IO[Any]], None]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
}
