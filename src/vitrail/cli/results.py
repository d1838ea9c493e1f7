"""Printing of results: notes on standard error, and the table of a study or benchmark on standard output."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..progress import to_stderr

if TYPE_CHECKING:
    from ..data.open import BadFile
    from ..pages.files import ResultFiles


def print_note(note: str) -> None:
    """Print a sentence to standard error."""
    to_stderr(f"vitrail: {note}")


def print_notes(notes: Iterable[str]) -> None:
    """Print sentences to standard error."""
    for note in notes:
        print_note(note)


def print_left_out(bad: Mapping[str, Sequence["BadFile"]]) -> None:
    """Print the files of each source that could not be used; many are listed in a table in the current folder."""
    from ..data.bad_files import left_out

    for source, files in bad.items():
        print_notes(left_out(files, source))


def print_results(files: "ResultFiles", out: Path | None, bad: Mapping[str, Sequence["BadFile"]]) -> None:
    """Write the files of results, and print their notes and their table.

    Args:
        files: content of the files.
        out: CSV file or folder to write, see `write_results`; None: nothing is written.
        bad: source -> its files that could not be used.
    """
    from ..pages.files import write_results
    from ..tables import print_table

    written = [f"written to {write_results(out, files)}"] if out else []
    print_left_out(bad)
    print_notes([*files.notes, *files.cautions, *written])
    if files.table:
        print_table(*files.table)
