"""Scores of attribution methods as a table for a terminal, and as CSV."""

from pathlib import Path

from ..lens.faithfulness.evaluate import Score
from ..pages.files import ResultFiles, results
from .attribution import Faithfulness

# Metric: heading with the better direction, and format of a value.
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


def files(found: Faithfulness, model: str) -> ResultFiles:
    """Content of the files that `-o` writes: a row for each method, baseline and reference.

    Args:
        model: name of the checkpoint.
    """
    columns = _measured(found)
    rows = [
        [score.method, score.kind, *(score.values.get(key, "") for key in columns), score.seconds, score.reason]
        for score in found.scores
    ]
    return ResultFiles(
        name="attribution",
        title=f"Attribution methods on {Path(model).name or model}",
        notes=notes(found),
        table=table(found),
        csv={"attribution": [["method", "kind", *columns, "seconds", "reason"], *rows]},
        sections=[results(table(found), "attribution")],
    )


def notes(found: Faithfulness) -> list[str]:
    """Sentences about the images, and about methods that do not apply."""
    reasons = [f"{score.method}: {score.reason}" for score in found.scores if score.reason]
    return [f"{found.note}; accuracy {found.top1:.1%}", *reasons]


def _measured(found: Faithfulness) -> list[str]:
    return [key for key in _COLUMNS if any(key in score.values for score in found.scores)]


def _row(score: Score, columns: list[str]) -> list[str]:
    name = score.method if score.kind == "method" else f"{score.method} ({score.kind})"
    return [name, *(_COLUMNS[key][1].format(score.values[key]) for key in columns), f"{score.seconds:.3f}"]
