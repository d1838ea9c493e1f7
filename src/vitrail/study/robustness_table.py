"""A robustness study as a table for a terminal, and as CSV."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ..pages.charts import line_chart
from ..pages.files import ResultFiles, results
from ..pages.html import section
from .robustness import RobustnessStudy
from .robustness_tests import CLEAN, Measurement

STANDARD_ERROR = "± is the standard error over images"
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
    return ["test", *column_names(names), *difference, "±"], lines


def csv_rows(study: RobustnessStudy, names: Sequence[str]) -> list[list[object]]:
    """Header, and a row for each test and severity: value and standard error of each model, and of the difference.

    Fractions are from 0 to 1.
    """
    parts = [*unlike(names), *(["difference"] if len(names) > 1 else [])]
    rows: list[list[object]] = [["test", "severity", "unit", *(word for name in parts for word in (name, f"{name} ±"))]]
    for across in study.rows:
        row = across[0]
        gap = [_gap(*across)] if len(across) > 1 else []
        pairs = ((own.value, own.error) for own in (*across, *gap))
        numbers = ["" if value is None else f"{value:.6g}" for pair in pairs for value in pair]
        rows.append([row.test, "" if row.severity is None else row.severity, row.unit, *numbers])
    return rows


def files(study: RobustnessStudy, names: Sequence[str]) -> ResultFiles:
    """Content of the files that `-o` writes.

    Args:
        names: names of the checkpoints.
    """
    return ResultFiles(
        name="robustness",
        title=f"Robustness of {' and '.join(column_names(names))}",
        notes=[*study.notes, STANDARD_ERROR],
        table=table(study, names),
        csv={"robustness": csv_rows(study, names)},
        sections=[results(table(study, names), "robustness"), *filter(None, [_severity_chart(study, names)])],
    )


def _severity_chart(study: RobustnessStudy, names: Sequence[str]) -> str:
    """Accuracy against the severity, as the mean over the corruptions."""
    series = {}
    for place, name in enumerate(column_names(names)):
        rows = [across[place] for across in study.rows]
        severities = sorted({row.severity for row in rows if row.severity is not None})
        values = {each: [row.value or 0.0 for row in rows if row.severity == each] for each in severities}
        clean = [(0.0, row.value or 0.0) for row in rows if row.test == CLEAN]
        series[name] = [*clean, *((float(each), sum(found) / len(found)) for each, found in values.items())]
    if not any(len(points) > 1 for points in series.values()):
        return ""
    chart = line_chart(series, label="Accuracy", x_label="severity", percent=True)
    return section("Accuracy under corruptions", chart, "Mean over the corruptions; severity 0 is the clean accuracy.")


def column_names(names: Sequence[str]) -> list[str]:
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
