"""Printing of results: notes on standard error, and the table of a study on standard output."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..progress import to_stderr

if TYPE_CHECKING:
    from ..data.open import BadFile
    from ..study.files import StudyFiles


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


def print_study(files: "StudyFiles", out: Path | None, bad: Mapping[str, Sequence["BadFile"]]) -> None:
    """Write the files of a study, and print its notes and its table.

    Args:
        files: content of the files.
        out: CSV file or folder to write, see `write_study`; None: nothing is written.
        bad: source -> its files that could not be used.
    """
    from ..study.files import write_study
    from ..tables import print_table

    written = [f"written to {write_study(out, files)}"] if out else []
    print_left_out(bad)
    print_notes([*files.notes, *files.cautions, *written])
    if files.table:
        print_table(*files.table)
