"""Tables: printed in aligned columns, or written as CSV files; and files that are written atomically."""

import csv
import io
import secrets
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

from .errors import VitrailError


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write rows, the header first, as a CSV file, atomically.

    Lines end with \\n. File names that are not UTF-8 (Python's surrogate escapes) are written as their own bytes.

    Raises:
        OSError: the file cannot be written; an older one is unchanged.
    """
    with complete_file(path) as file:
        file.writelines(_csv_lines(rows))


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return rows as the text that `write_csv` writes."""
    return "".join(_csv_lines(rows))


def _csv_lines(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Rows as lines. Python's writer quotes only line ends that it writes itself, but a name may have any of them."""
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\r\n")
    for row in rows:
        line.seek(0)
        line.truncate()
        writer.writerow(row)
        yield line.getvalue()[:-2] + "\n"


@contextmanager
def complete_file(path: Path, *, mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    """Context manager: a file to write that is NAME.TOKEN.part until the block ends without an error.

    The token is random, so that two processes that write the same file do not mix: the last one to end wins.

    Args:
        path: the file to write; an older one is replaced.
        mode: "w" for text (UTF-8, surrogate escapes as their own bytes, line ends as given), "wb" for bytes.
    """
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    text = {} if mode == "wb" else {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
    try:
        with open(part, mode, **text) as file:  # type: ignore[call-overload]
            yield file
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def check_folder(folder: Path) -> None:
    """Raise VitrailError if this is no folder and none can be made, before anything is measured for its files."""
    place = next(each for each in (folder, *folder.parents) if each.exists())
    if not place.is_dir():
        raise VitrailError(f"{place} is a file: name another folder for the results")


def check_file(file: Path) -> None:
    """Raise VitrailError if this is a folder, or its own folder cannot be made, before anything is computed for it."""
    if file.is_dir():
        raise VitrailError(f"{file} is a folder: name a file in it")
    check_folder(file.parent)


def make_parent(file: Path) -> None:
    """Make the folder of a file that is to be written, if there is none."""
    file.parent.mkdir(parents=True, exist_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8; what cannot be written, such as halves of surrogate pairs, is a ?."""
    with complete_file(path, mode="wb") as file:
        file.write(text.encode("utf-8", "replace"))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table to standard output; the first column is aligned left, the others right."""
    if sys.stdout.isatty():
        _print_rich(headers, rows)
    else:
        print(plain_table(headers, rows))


def plain_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as text, with columns as wide as their widest cell, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    lines = []
    for row in [headers, *rows]:
        first, *rest = (
            cell.ljust(width) if not i else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([first, *rest]).rstrip())
    return "\n".join(lines)


def _print_rich(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    for index, header in enumerate(headers):
        table.add_column(header, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def number_text(value: float) -> str:
    """Format a number with four digits, or, if that needs a power of ten, as a whole number with commas."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
