"""Table, picture and page of a search for the fastest way to run a model."""

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from ..pages import html
from ..pages.charts import scatter_chart
from ..pages.files import ResultFiles, Table, results
from ..pages.html import section
from .decide import pareto, verdict
from .measure import EXACT, Outcome
from .optimize import Optimised

_HEAD = ("setting", "ms a batch", "images/s", "speed-up", "difference", "drop", "")


def files(found: Optimised, checkpoint: str) -> ResultFiles:
    """Content of the page and the CSV table."""
    rows = [_cells(outcome, found) for outcome in ranked(found.outcomes)]
    csv = [
        (
            outcome.name,
            outcome.seconds,
            outcome.speedup,
            outcome.difference,
            outcome.drop if outcome.drop is not None else "",
            outcome.changed if outcome.changed is not None else "",
            _verdict(outcome, found),
        )
        for outcome in ranked(found.outcomes)
    ]
    table: Table = (_HEAD, rows)
    return ResultFiles(
        name="optimize",
        title=f"The fastest way to run {Path(checkpoint).name}",
        csv={"settings": [("setting", "seconds", "speedup", "difference", "drop", "changed", "verdict"), *csv]},
        sections=[_picture(found), results(table, "settings")],
        table=table,
        notes=found.notes,
        facts=_facts(found),
        cautions=found.cautions,
    )


def ranked(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Outcomes from the fastest to the slowest, those that failed last."""
    return sorted(outcomes, key=lambda outcome: -math.inf if outcome.failed else outcome.speedup, reverse=True)


def summary(found: Optimised) -> str:
    """What was chosen, in a sentence."""
    if found.chosen is None:
        return (
            "no setting that was tried is faster than the unmodified model: commands run it as before, and nothing is "
            "stored"
        )
    drop = found.chosen.drop
    lost = "" if drop is None else f", {max(drop, 0):.1f} points lost on {found.images:,} images"
    if found.chosen.difference <= EXACT:  # what objects count as found may hang on the last digit of a score
        lost = ", outputs equal to 1e-3"
    return (
        f"chosen: {found.chosen.name}, {found.chosen.speedup:.2f}× the unmodified model{lost}; predict, eval and embed "
        "use it on this machine"
    )


def _facts(found: Optimised) -> list[tuple[str, str]]:
    if found.chosen is None:
        return [("chosen", "the unmodified model")]
    drop = found.chosen.drop
    return [
        ("chosen", found.chosen.name),
        ("speed", f"{found.chosen.speedup:.2f}× the unmodified model"),
        ("drop", "not measured" if drop is None else f"{drop:.2f} points of {found.options.max_drop:g}"),
    ]


def _cells(outcome: Outcome, found: Optimised) -> list[str]:
    if outcome.failed:
        return [outcome.name, "–", "–", "–", "–", "–", outcome.failed]
    known = not math.isnan(outcome.seconds)
    return [
        outcome.name,
        f"{1000 * outcome.seconds:.1f}" if known else "–",
        f"{found.options.batch_size / outcome.seconds:.1f}" if known else "–",
        f"{outcome.speedup:.2f}×",
        f"{outcome.difference:.1e}",
        "–" if outcome.drop is None else f"{outcome.drop:.2f}",
        _verdict(outcome, found),
    ]


def _verdict(outcome: Outcome, found: Optimised) -> str:
    if outcome.setting is None:
        return ""
    if outcome is found.chosen:
        return "chosen"
    return verdict(outcome, found.options.max_drop, found.images)


def _picture(found: Optimised) -> str:
    """Speed against loss; the settings that no other beats in both are listed."""
    known = [outcome for outcome in found.outcomes if not outcome.failed]
    with_drop = bool(found.images)
    points = [(outcome.speedup, _drop(outcome) if with_drop else _digits(outcome)) for outcome in known]
    chart = scatter_chart(
        points,
        label="speed and loss of every setting",
        x_label="speed-up",
        y_label="drop in points" if with_drop else "digits of the difference, log10",
        names=[outcome.name for outcome in known],
    )
    front = html.table(
        ("setting", "speed-up", "drop" if with_drop else "difference"),
        [
            (escape(one.name), f"{one.speedup:.2f}×", f"{_drop(one):.2f}" if with_drop else f"{one.difference:.1e}")
            for one in pareto(found.outcomes)
        ],
    )
    note = "Settings that no other is both faster and better than, from the slowest to the fastest."
    return section("Speed and loss", chart) + section("The Pareto front", front, note)


def _drop(outcome: Outcome) -> float:
    """The drop in points; that of the unmodified model, which is compared with itself, is none."""
    return outcome.drop or 0.0


def _digits(outcome: Outcome) -> float:
    return math.log10(max(outcome.difference, 1e-8))
