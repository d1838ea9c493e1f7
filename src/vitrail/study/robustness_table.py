"""A robustness study as a table for a terminal, and as CSV."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from .. import tables
from ..errors import VitrailError
from .robustness import RobustnessStudy
from .trials import Measurement

_LONGEST = 16


def table(study: RobustnessStudy, names: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Headers and rows for `print_table`; single severities are in the CSV only.

    ± is the standard error over images: of the value, or for two models of their difference, image by image.
    """
    lines = []
    for across in study.rows:
        if across[0].severity is not None:
            continue
        gap = [_gap(*across)] if len(across) > 1 else []
        last = [*across, *gap][-1]
        values = [_cell(row) for row in across] + [_cell(row, sign="+").removesuffix(" %") for row in gap]
        lines.append([across[0].test, *values, _cell(replace(last, value=last.error), none="").removesuffix(" %")])
    difference = ["difference"] if len(names) > 1 else []
    return ["test", *short_names(names), *difference, "±"], lines


def write_csv(study: RobustnessStudy, names: Sequence[str], path: Path) -> None:
    """A row for each test and severity: value and standard error of each model, and of the difference of two.

    Fractions are from 0 to 1. Written atomically.
    """
    parts = [*unlike(names), *(["difference"] if len(names) > 1 else [])]
    headers = ["test", "severity", "unit", *(word for name in parts for word in (name, f"{name} ±"))]
    rows: list[list[object]] = []
    for across in study.rows:
        row = across[0]
        gap = [_gap(*across)] if len(across) > 1 else []
        pairs = ((own.value, own.error) for own in (*across, *gap))
        numbers = ["" if value is None else f"{value:.6g}" for pair in pairs for value in pair]
        rows.append([row.test, "" if row.severity is None else row.severity, row.unit, *numbers])
    tables.write_csv(path, [headers, *rows])


def check_output(path: Path) -> None:
    """Raise VitrailError if no file can be written here, before anything is measured."""
    if path.is_dir():
        raise VitrailError(f"{path} is a folder: name a file in it, such as {path / 'robustness.csv'}")
    if path.suffix.lower() != ".csv":
        raise VitrailError(f"{path} does not end in .csv, which is the format of this table: name a .csv file")
    if not path.parent.is_dir():
        raise VitrailError(f"there is no folder {path.parent} to write {path.name} to: make it, or name another file")


def short_names(names: Sequence[str]) -> list[str]:
    """Last components of paths, shortened to fit a column."""
    ends = [Path(name).name or name for name in names]
    return [end if len(end) <= _LONGEST else f"…{end[1 - _LONGEST :]}" for end in unlike(ends)]


def unlike(names: Sequence[str]) -> list[str]:
    """Make names unique by appending numbers to repeated ones."""
    return [
        f"{name} ({names[: place + 1].count(name)})" if name in names[:place] else name
        for place, name in enumerate(names)
    ]


def _gap(first: Measurement, second: Measurement) -> Measurement:
    """The first minus the second; image by image if they are means over the same images."""
    value = None if first.value is None or second.value is None else first.value - second.value
    each = None if first.each is None or second.each is None else first.each - second.each
    return replace(first, value=value, each=each)


def _cell(row: Measurement, *, sign: Literal["", "+"] = "", none: str = "–") -> str:
    if row.value is None:
        return none
    return f"{100 * row.value:{sign}.1f} %" if row.unit == "share" else f"{row.value:{sign}.3f}"
