"""Files of a study: a CSV table, or a folder with the table and a page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from .. import tables
from ..errors import VitrailError
from ..pages.html import page, section, table


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyFiles:
    """Content of the files of a study.

    Attributes:
        name: name of the study: the files are NAME.csv and NAME.html.
        title: title of the page.
        notes: sentences that describe the images and how the numbers were computed.
        table: headers and rows, as they are printed.
        csv: header and rows of the CSV file, with all digits.
        sections: HTML sections after the table, such as charts.
    """

    name: str
    title: str
    notes: Sequence[str]
    table: tuple[Sequence[str], Sequence[Sequence[str]]]
    csv: Iterable[Sequence[object]]
    sections: Sequence[str] = ()


def check_output(out: Path | None) -> None:
    """Raise VitrailError if neither a CSV file nor a folder can be written here, before anything is measured.

    None, for a study that is only printed, passes.
    """
    if out is None:
        return
    if is_folder(out):
        if out.is_file():
            raise VitrailError(f"{out} is a file: name a folder, or a file that ends in .csv")
        return
    if out.is_dir():
        raise VitrailError(f"{out} is a folder: name a file in it, such as {out / 'study.csv'}, or another folder")
    if out.suffix.lower() != ".csv":
        raise VitrailError(
            f"{out} ends in {out.suffix}: name a .csv file for the table, or a folder for the table and a page"
        )
    if not out.parent.is_dir():
        raise VitrailError(f"there is no folder {out.parent} to write {out.name} to: make it, or name another file")


def is_folder(out: Path) -> bool:
    """Whether an output names a folder: one that is there, or a name without a suffix."""
    return (out.is_dir() and out.suffix.lower() != ".csv") or not out.suffix


def write_study(out: Path, files: StudyFiles) -> None:
    """Write the CSV file; or, if `out` is a folder, both files in it, each atomically. The folder is made if needed."""
    if not is_folder(out):
        tables.write_csv(out, files.csv)
        return
    out.mkdir(parents=True, exist_ok=True)
    tables.write_csv(out / f"{files.name}.csv", files.csv)
    tables.write_text(out / f"{files.name}.html", study_page(files))


def study_page(files: StudyFiles) -> str:
    """Return the page of a study."""
    headers, rows = files.table
    lead = "".join(f'<p class="soft">{escape(note)}</p>' for note in files.notes)
    body = section("Results", table(headers, rows), f"With all digits: {files.name}.csv.")
    return page(files.title, lead, [body, *files.sections])
