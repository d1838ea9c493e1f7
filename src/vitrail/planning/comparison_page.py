"""A comparison of sizes as rows of a table, as a CSV file and as a page."""

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from ..pages.bars import stacked_bars
from ..pages.charts import line_chart
from ..pages.html import NOWRAP, cautions, page, section, table
from ..tables import number_text, write_csv, write_text
from .budget import format_bytes
from .comparison import Row
from .cost import Plan
from .speed import EFFICIENCY, Seconds

PAGE, CSV = "plan.html", "plan.csv"


def comparison_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Headers and rows for `print_table`; sizes that do not fit have no numbers."""
    headers = [
        *("model", "image", "patch", "tokens", "M param", "GFLOPs", "G mult-adds"),
        *("train memory", "infer memory", "infer ms", "train ms"),
    ]
    return headers, [_cells(row) for row in rows]


def comparison_notes(rows: Sequence[Row]) -> list[str]:
    """Sentences on what the numbers are, and the reasons of sizes that do not fit."""
    first = next(row.plan for row in rows if row.plan)
    notes = [
        f"memory is that of the process, batch {first.batch_size}, {first.precision}, {first.device}; training "
        f"has {_words_of(first)}"
    ]
    seconds = next((row.seconds for row in rows if row.seconds), None)
    if seconds is None:
        notes.append("no time: this machine has no such device; run with --measure on one that does")
    elif seconds.measured:
        notes.append(f"time an image was measured on this machine, batch {first.batch_size}, medians, random weights")
    else:
        notes.append(
            f"time an image is estimated: FLOPs at {100 * EFFICIENCY:.0f} % of the speed of matrix products here, "
            "training three times a forward pass; it may be wrong by a factor of 2 to 3: use --measure"
        )
    return [*notes, *(f"left out: {row.reason}" for row in rows if row.reason)]


def _words_of(plan: Plan) -> str:
    """What training keeps beside weights and gradients."""
    average = ", averaged weights" if plan.ema else ""
    return f"{format_bytes(plan.optimizer)} of the optimiser's state{average}"


def write_comparison(rows: Sequence[Row], folder: Path) -> None:
    """Write plan.html and plan.csv to a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / CSV, [_COLUMNS, *(_values(row) for row in rows if row.plan)])
    write_text(folder / PAGE, comparison_page(rows))


def comparison_page(rows: Sequence[Row]) -> str:
    """Return the HTML document."""
    known = [row for row in rows if row.plan]
    headers, cells = comparison_table(rows)
    charts = [
        _chart(known, "Tokens", lambda row, plan: row.tokens),
        _chart(known, "GFLOPs an image", lambda row, plan: plan.flops / 1e9),
        _chart(known, "Training memory, GB", lambda row, plan: plan.training_process_bytes / 1e9),
        _chart(known, "Inference, ms an image", lambda row, plan: 1e3 * row.seconds.inference if row.seconds else None),
    ]
    parts = [
        cautions(comparison_notes(rows)),
        section("Costs", table(headers, cells)),
        section("Against the image size", f'<div class="charts">{"".join(charts)}</div>'),
        _split(known, "Where the FLOPs are", lambda plan: {part.name: part.flops / 1e9 for part in plan.parts}, "G"),
        _split(
            known,
            "What a training step keeps in memory",
            lambda plan: {part.name: part.activations / 1e9 for part in plan.parts},
            "GB",
            "Activations that are kept for the backward pass, for the whole batch.",
        ),
    ]
    return page(f"Plan of {rows[0].model}", '<p class="soft">Cost at several sizes</p>', parts, styles=NOWRAP)


_COLUMNS = [
    *("model", "image_size", "patch_size", "tokens", "parameters", "flops", "multiply_adds", "batch_size"),
    *("training_process_bytes", "inference_process_bytes", "inference_seconds", "training_seconds", "measured"),
]


def _values(row: Row) -> list[object]:
    plan, seconds = row.plan, row.seconds
    assert plan is not None
    return [
        *(row.model, row.image_size, row.patch_size or "", row.tokens or "", plan.parameters, plan.flops),
        *(plan.multiply_adds, plan.batch_size, plan.training_process_bytes, plan.inference_process_bytes),
        *((f"{seconds.inference:.6f}", f"{seconds.training:.6f}", seconds.measured) if seconds else ("", "", "")),
    ]


def _cells(row: Row) -> list[str]:
    plan = row.plan
    start = [row.model, str(row.image_size), str(row.patch_size or "")]
    if plan is None:
        return [*start, *["–"] * 8]
    return [
        *start,
        f"{row.tokens:,}" if row.tokens else "",
        f"{plan.parameters / 1e6:.2f}",
        f"{plan.flops / 1e9:.2f}",
        f"{plan.multiply_adds / 1e9:.2f}",
        format_bytes(plan.training_process_bytes),
        format_bytes(plan.inference_process_bytes),
        *_times(row.seconds),
    ]


def _times(seconds: Seconds | None) -> tuple[str, str]:
    return (number_text(1e3 * seconds.inference), number_text(1e3 * seconds.training)) if seconds else ("–", "–")


def _chart(rows: Sequence[Row], title: str, value: Callable[[Row, Plan], float | None]) -> str:
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        assert row.plan is not None
        if (found := value(row, row.plan)) is not None:
            lines.setdefault(row.name, []).append((row.image_size, found))
    drawn = line_chart({name: sorted(points) for name, points in lines.items()}, label=title, x_label="image size, px")
    return f"<div><h3>{escape(title)}</h3>{drawn}</div>" if drawn else ""


def _split(
    rows: Sequence[Row], title: str, values: Callable[[Plan], dict[str, float]], unit: str, note: str = ""
) -> str:
    bars = {f"{row.name}, {row.image_size} px": values(row.plan) for row in rows if row.plan}
    return section(title, stacked_bars(bars, unit=unit), note)
