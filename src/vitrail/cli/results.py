"""Printing of results: notes on standard error, and the table of a study on standard output."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..progress import to_stderr

if TYPE_CHECKING:
    from ..study.files import StudyFiles


def print_note(note: str) -> None:
    """Print a sentence to standard error."""
    to_stderr(f"vitrail: {note}")


def print_notes(notes: Iterable[str]) -> None:
    """Print sentences to standard error."""
    for note in notes:
        print_note(note)


def print_study(files: "StudyFiles", out: Path | None, left_out: Iterable[str]) -> None:
    """Write the files of a study, and print its notes and its table.

    Args:
        files: content of the files.
        out: CSV file or folder to write, see `write_study`; None: nothing is written.
        left_out: sentences on files that could not be used.
    """
    from ..study.files import write_study
    from ..tables import print_table

    if out:
        write_study(out, files)
    print_notes([*left_out, *files.notes, *([f"written to {out}"] if out else [])])
    print_table(*files.table)
