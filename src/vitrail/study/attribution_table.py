"""The scores of attribution methods as a table for people, and as CSV."""

import csv
from pathlib import Path

from ..lens.faithfulness.evaluate import Score
from .attribution import Faithfulness

# Metric: heading with the better direction, and how a value is written.
_COLUMNS = {
    "pointing": ("pointing ↑", "{:.3f}"),
    "touching": ("± ½ patch ↑", "{:.3f}"),
    "overlap": ("IoU ↑", "{:.3f}"),
    "precision": ("AP ↑", "{:.3f}"),
    "insertion": ("insertion ↑", "{:.3f}"),
    "deletion": ("deletion ↓", "{:.3f}"),
    "sanity": ("shuffled ↓", "{:.2f}"),
}


def table(found: Faithfulness) -> tuple[list[str], list[list[str]]]:
    """Headers and rows for `print_table`; methods that do not apply to the model are left out."""
    columns = _measured(found)
    headers = ["method", *(_COLUMNS[key][0] for key in columns), "s / image"]
    return headers, [_row(score, columns) for score in found.scores if score.values]


def write_csv(found: Faithfulness, path: Path) -> None:
    """A row for each method, baseline and reference; the file appears when it is complete."""
    columns = _measured(found)
    part = path.with_name(f"{path.name}.part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["method", "kind", *columns, "seconds", "reason"])
        for score in found.scores:
            values = [score.values.get(key, "") for key in columns]
            writer.writerow([score.method, score.kind, *values, score.seconds, score.reason])
    part.replace(path)


def _measured(found: Faithfulness) -> list[str]:
    return [key for key in _COLUMNS if any(key in score.values for score in found.scores)]


def _row(score: Score, columns: list[str]) -> list[str]:
    name = score.method if score.kind == "method" else f"{score.method} ({score.kind})"
    return [name, *(_COLUMNS[key][1].format(score.values[key]) for key in columns), f"{score.seconds:.3f}"]
