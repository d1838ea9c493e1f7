"""Files of results: a page and CSV tables in a folder, or one CSV table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from .. import tables
from ..errors import VitrailError
from . import html
from .html import page, section

Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Headers and rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultFiles:
    """Content of the files of a study or benchmark, and what is printed of it.

    Attributes:
        name: the page is NAME.html.
        title: title of the page.
        csv: name -> header and rows of NAME.csv, with all digits; where one CSV file is written, it is the first.
        sections: HTML sections of the page, such as tables and charts.
        table: headers and rows to print; None for a study that prints a summary of its own.
        subtitle: a few words below the title.
        notes: sentences that describe the images and how the numbers were computed.
        facts: (name, value) of the main numbers, at the top of the page.
        cautions: sentences that readers must not miss.
        styles: more CSS of the page.
        folder: whether only a folder is written.
    """

    name: str
    title: str
    csv: Mapping[str, Iterable[Sequence[object]]]
    sections: Sequence[str]
    table: Table | None = None
    subtitle: str = ""
    notes: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    cautions: Sequence[str] = ()
    styles: str = ""
    folder: bool = False

    @property
    def file_names(self) -> list[str]:
        """Names of the files in a folder, the page first."""
        return [f"{self.name}.html", *(f"{name}.csv" for name in self.csv)]


def results(table: Table, name: str) -> str:
    """The section of the page with a table.

    Args:
        table: headers and rows.
        name: name of the CSV file with all digits.
    """
    return section("Results", html.table(*table), f"With all digits: {name}.csv.")


def check_output(out: Path | None) -> None:
    """Raise VitrailError if neither a CSV file nor a folder can be written here, before anything is measured.

    None, for results that are only printed, passes.
    """
    if out is None:
        return
    if is_folder(out):
        if out.is_file():
            raise VitrailError(f"{out} is a file: name a folder, or a file that ends in .csv")
        tables.check_folder(out)
        return
    if out.is_dir():
        raise VitrailError(f"{out} is a folder: name a file in it, such as {out / 'results.csv'}, or another folder")
    if out.suffix.lower() != ".csv":
        raise VitrailError(
            f"{out} ends in {out.suffix}: name a .csv file for the table, or a folder for the table and a page"
        )
    tables.check_file(out)


def is_folder(out: Path) -> bool:
    """Whether an output names a folder: one that is there, or a name without a suffix."""
    return (out.is_dir() and out.suffix.lower() != ".csv") or not out.suffix


def write_results(out: Path, files: ResultFiles) -> str:
    """Write all files into a folder, which is made if needed, or the first table to a CSV file; each atomically.

    Returns:
        where they are, in words.
    """
    if not (files.folder or is_folder(out)):
        tables.make_parent(out)
        tables.write_csv(out, next(iter(files.csv.values())))
        return str(out)
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in files.csv.items():
        tables.write_csv(out / f"{name}.csv", rows)
    tables.write_text(out / f"{files.name}.html", results_page(files))
    return f"{out}: {', '.join(files.file_names)}"


def results_page(files: ResultFiles) -> str:
    """Return the page."""
    words = [files.subtitle, *files.notes] if files.subtitle else files.notes
    lead = "".join(f'<p class="soft">{escape(sentence)}</p>' for sentence in words)
    top = [html.facts(files.facts)] if files.facts else []
    return page(files.title, lead, [*top, html.cautions(files.cautions), *files.sections], styles=files.styles)
