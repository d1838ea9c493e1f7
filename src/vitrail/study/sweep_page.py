"""A sweep as rows of a table, as a CSV file and as a page."""

from html import escape
from shlex import quote
from statistics import mean

from ..checkpoint.origin import public_name
from ..pages.bars import value_bars
from ..pages.files import ResultFiles
from ..pages.html import section, table
from .sweep import Sweep


def sweep_table(found: Sweep) -> tuple[list[str], list[list[str]]]:
    """Headers and rows, the best first; runs without a result come last."""
    ranking = found.ranking
    rest = [place for place in range(len(found.outcomes)) if place not in ranking]
    headers = ["run", *found.fields, "validation quality", "seconds", "problem"]
    rows = []
    for place in [*ranking, *rest]:
        outcome = found.outcomes[place]
        quality = "" if outcome.quality is None else f"{outcome.quality:.4f}"
        rows.append(
            [outcome.trial.name, *found.values[place], quality, f"{outcome.seconds:.0f}", _short(outcome.error)]
        )
    kept = [column for column in range(len(headers)) if headers[column] != "problem" or any(row[-1] for row in rows)]
    return [headers[column] for column in kept], [[row[column] for column in kept] for row in rows]


def sweep_notes(found: Sweep) -> list[str]:
    """Sentences on what the result is worth."""
    ranking = found.ranking
    notes = [
        "The best run is chosen by its validation quality, which is therefore too optimistic; its test result is not, "
        "if you look at it once."
    ]
    if len(ranking) > 1:
        first, second = (found.outcomes[place].quality or 0.0 for place in ranking[:2])
        gap = f"{first - second:.4f}"
        ahead = f"It is {gap} better than the second" if float(gap) else "It and the second do not differ"
        notes.append(f"{ahead}, one seed each: repeat close ones with other seeds.")
    missing = len(found.outcomes) - len(ranking)
    return [*notes, *([f"{missing} of {len(found.outcomes)} runs have no result."] if missing else [])]


def files(found: Sweep, command: str) -> ResultFiles:
    """Content of sweep.html and sweep.csv.

    Args:
        found: the sweep.
        command: the command that trains the best run again.
    """
    best, headers, rows = found.best, *sweep_table(found)
    shown = [("runs", f"{len(found.ranking)} of {len(found.outcomes)}"), ("best run", best.trial.name)]
    shown += [("its validation quality", f"{best.quality:.4f}")]
    shown += [(f"its {name} (held out)", value) for name, value in best.metrics.get("facts", [])[:1]]
    each = {found.outcomes[place].trial.name: found.outcomes[place].quality or 0.0 for place in found.ranking}
    command = command.replace(f" train {quote(found.source)}", f" train {quote(public_name(found.source))}", 1)
    return ResultFiles(
        name="sweep",
        title=f"Sweep of {public_name(found.source)}",
        subtitle="Grid search",
        facts=shown,
        cautions=sweep_notes(found),
        table=(headers, rows),
        csv={"sweep": [headers, *rows]},
        sections=[
            section("The best again", f"<pre>{escape(command)}</pre>"),
            section("Validation quality of each run", value_bars(each)),
            *(_by_field(found, place) for place in range(len(found.fields))),
            section("All runs", table(headers, rows)),
        ],
        folder=True,
    )


def _by_field(found: Sweep, column: int) -> str:
    """Mean quality of the runs with each value of a field."""
    groups: dict[str, list[float]] = {}
    for place, outcome in enumerate(found.outcomes):
        if outcome.quality is not None:
            groups.setdefault(found.values[place][column], []).append(outcome.quality)
    bars = {f"{found.fields[column]}={value}": mean(qualities) for value, qualities in groups.items()}
    bars = dict(sorted(bars.items(), key=lambda item: -item[1]))
    return section(f"By {found.fields[column]}", value_bars(bars), "Mean validation quality over the other fields.")


def _short(text: str) -> str:
    """The first line of an error, cut."""
    first, *more = text.splitlines() or [""]
    return first if len(first) <= 80 and not more else f"{first[:79].rstrip(':')}…"
