"""Scaling laws of a user's own runs: reading them, a table, a page."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..checkpoint.contract import load
from ..checkpoint.origin import public_name
from ..errors import VitrailError
from ..pages.charts import line_chart
from ..pages.files import ResultFiles, Table, results
from ..pages.html import section, table
from ..planning.flops import count
from ..training.folder import EVALUATION, SPLITS, RunFolder
from .scaling import ScalingFit, fit_scaling
from .trial_runs import accuracy_of

Axis = Literal["images", "parameters", "flops"]
SCALING_HEADERS = ["floor", "exponent", "error with twice as much", "held out: measured", "predicted"]
_AXES: dict[Axis, str] = {"images": "training images", "parameters": "parameters", "flops": "FLOPs of an image"}
_CURVE = 40


def run_point(run: Path, axis: Axis) -> tuple[float, float]:
    """(size, error) of a run: training images, parameters, or FLOPs of a forward pass; 1 − accuracy.

    Raises:
        VitrailError: not a finished run, or one without classes.
    """
    if not (run / EVALUATION).is_file():
        raise VitrailError(f"{run} is not a finished run: it has no {EVALUATION}")
    error = 1 - accuracy_of(RunFolder(run).read_json(EVALUATION), str(run))
    return _size(run, axis), error


def _size(run: Path, axis: Axis) -> float:
    if axis == "images":
        with (run / SPLITS).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return float(sum(row["split"] == "train" for row in csv.DictReader(file)))
    cost = count(load(run).model.config)
    return float(cost.parameters if axis == "parameters" else cost.flops)


def scaling_row(fit: ScalingFit) -> list[str]:
    """Cells for `SCALING_HEADERS`."""
    law = fit.law
    twice = 2 * law.largest
    held = ["–", "–"]
    if fit.held_out is not None:
        _, measured, predicted, low, high = fit.held_out
        held = [_percent(measured), _with(_percent(predicted), None if math.isnan(low) else (low, high))]
    exponent = fit.exponent_interval()
    return [
        _with(_percent(law.floor), fit.floor_interval()),
        f"{law.exponent:.2f}" + (f" ({exponent[0]:.2f} to {exponent[1]:.2f})" if exponent else ""),
        _with(_percent(law(twice)), fit.interval(twice)),
        *held,
    ]


def scaling_of_runs(runs: Sequence[Path], axis: Axis) -> tuple[ScalingFit, list[tuple[float, float]]]:
    """Fit a power law to finished runs; returns it with the (size, error) of each run."""
    found = [run_point(run, axis) for run in runs]
    return fit_scaling([size for size, _ in found], [error for _, error in found]), found


def files(fit: ScalingFit, runs: Sequence[Path], found: Sequence[tuple[float, float]], axis: Axis) -> ResultFiles:
    """Content of scaling.csv and scaling.html.

    Args:
        fit: the fit of the runs.
        runs: their folders.
        found: (size, error) of each run.
        axis: what their size is.
    """
    low, high = min(size for size, _ in found), 2 * fit.law.largest
    curve = [low * (high / low) ** (place / _CURVE) for place in range(_CURVE + 1)]
    lines = {"measured": sorted(found), "fitted": [(size, fit.law(size)) for size in curve]}
    chart = line_chart(lines, label="Error", x_label=_AXES[axis], percent=True, log_x=True, unconnected=("measured",))
    named = [(public_name(str(run)), size, error) for run, (size, error) in zip(runs, found, strict=True)]
    rows = [[name, f"{size:,.0f}", _percent(error)] for name, size, error in named]
    shown: Table = (["run", axis, "error"], rows)
    return ResultFiles(
        name="scaling",
        title=f"Error against {_AXES[axis]}",
        subtitle="Scaling law",
        notes=[NOTE],
        table=shown,
        csv={
            "scaling": [["run", axis, "error"], *([name, f"{size:.0f}", f"{error:.6f}"] for name, size, error in named)]
        },
        sections=[
            section("Error", chart),
            section("Fit", table(SCALING_HEADERS, [scaling_row(fit)], text=0)),
            results(shown, "scaling"),
        ],
    )


NOTE = (
    "error = floor + scale · size^(−exponent), least squares, 95 % intervals by bootstrap of the residuals. A law "
    "that was fitted over less than a factor of ten is no basis for a factor of ten."
)


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _with(text: str, interval: tuple[float, float] | None) -> str:
    return text if interval is None else f"{text} ({_percent(interval[0])} to {_percent(interval[1])})"
