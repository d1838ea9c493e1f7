"""`vitrail explain --evaluate`: the table of attribution methods."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import VitrailError, nearest

if TYPE_CHECKING:
    from ..lens.faithfulness.evaluate import Score

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


def judge(
    checkpoint: str,
    sources: Sequence[str],
    names: Sequence[str],
    masks: Path | None,
    limit: int | None,
    device: str,
    out: Path,
) -> None:
    """Print the table, and write it as CSV into the folder `out`."""
    from ..checkpoint.contract import load
    from ..lens.attribution.methods import METHODS
    from ..machine.facts import pick_device
    from ..progress import visible
    from ..study.attribution import evaluate_explanations
    from ..tables import print_table

    for name in names:
        if name not in METHODS:
            raise VitrailError(f"there is no method {name!r}: {nearest(name, METHODS)}")
    if len(sources) != 1:
        raise VitrailError(f"--evaluate judges by one labelled source, not {len(sources)}: name a folder or a table")
    found = evaluate_explanations(
        load(checkpoint),
        sources[0],
        {name: METHODS[name] for name in names or METHODS},
        masks=masks,
        limit=limit or 200,
        device=pick_device(device),
        progress=visible,
    )
    print(f"{found.note}; the model is right about {found.top1:.1%}")
    columns = [key for key in _COLUMNS if any(key in score.values for score in found.scores)]
    headers = ["method", *(_COLUMNS[key][0] for key in columns), "s / picture"]
    print_table(headers, [_row(score, columns) for score in found.scores if score.values])
    for score in found.scores:
        if score.reason:
            print(f"{score.method}: {score.reason}")
    print(_write(found.scores, columns, out))


def _row(score: "Score", columns: Sequence[str]) -> list[str]:
    name = score.method if score.kind == "method" else f"{score.method} ({score.kind})"
    return [name, *(_COLUMNS[key][1].format(score.values[key]) for key in columns), f"{score.seconds:.3f}"]


def _write(scores: Sequence["Score"], columns: Sequence[str], out: Path) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    path = out / "faithfulness.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["method", "kind", *columns, "seconds", "reason"])
        for score in scores:
            values = [score.values.get(key, "") for key in columns]
            table.writerow([score.method, score.kind, *values, score.seconds, score.reason])
    return path
