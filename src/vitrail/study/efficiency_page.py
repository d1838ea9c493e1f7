"""A study of data efficiency as tables for a terminal, as CSV files and as a page."""

import math
from statistics import mean

from ..checkpoint.origin import public_name
from ..errors import VitrailError
from ..pages.charts import line_chart
from ..pages.files import ResultFiles
from ..pages.html import NOWRAP, section, table
from .curves import Curve, Estimate, Point, crossing, data_factor, points
from .efficiency import Efficiency
from .scaling import ScalingFit, fit_scaling
from .scaling_page import SCALING_HEADERS, scaling_row


def efficiency_table(found: Efficiency) -> tuple[list[str], list[list[str]]]:
    """Headers and rows of accuracies: a row for each number of images, a column for each model."""
    columns = {label: {point.images: point for point in points(curve)} for label, curve in found.curves.items()}
    sizes = sorted({images for column in columns.values() for images in column})
    rows = [[f"{images:,}", *(_accuracy(column.get(images)) for column in columns.values())] for images in sizes]
    return ["images", *columns], rows


def factor_table(found: Efficiency) -> tuple[list[str], list[list[str]]]:
    """Headers and rows: for each other model and number of images, how many times as many the first one needs."""
    first, rows = found.contestants[0].label, []
    for model in found.contestants[1:]:
        if first not in found.curves or model.label not in found.curves:
            continue
        curve, other = found.curves[first], found.curves[model.label]
        rows += [
            [
                model.label,
                f"{images:,}",
                f"{100 * mean(other[images]):.1f} %",
                *_known(_words(data_factor(curve, other, images)), curve, other),
            ]
            for images in sorted(other)
        ]
        rows.append([model.label, "crossing", "", *_known(_words(crossing(curve, other), images=True), curve, other)])
    return ["compared with", "its images", "its accuracy", "factor or images", "95 % interval"], rows


def files(found: Efficiency) -> ResultFiles:
    """Content of data-efficiency.html, curves.csv and factors.csv."""
    first, headers, factors = found.contestants[0].label, *factor_table(found)
    factor_note = (
        f"How many times as many images {first} needs for the accuracy of the other model, read from its curve, "
        "linear in the logarithm of the images; 'crossing' is the number of images from which it is at least as good. "
        "Intervals come from the spread over seeds (500 draws, Student's t)."
    )
    accuracies = "Means and 95 % intervals (Student's t) over seeds."
    return ResultFiles(
        name="data-efficiency",
        title=f"Data efficiency on {public_name(found.source)}",
        subtitle="Study of data efficiency",
        cautions=found.notes,
        table=efficiency_table(found),
        csv={"curves": [["model", "images", "seed", "accuracy"], *_accuracies(found)], "factors": [headers, *factors]},
        sections=[
            section("Accuracy against training images", _curves(found), accuracies),
            section("Table", table(*efficiency_table(found))),
            *([section("How much more data", table(headers, factors, text=1), factor_note)] if factors else []),
            _scaling(found),
            _parameters(found),
        ],
        styles=NOWRAP,
        folder=True,
    )


def _accuracies(found: Efficiency) -> list[list[object]]:
    """A row for each model, number of images and seed."""
    return [
        [label, images, seed, f"{accuracy:.6f}"]
        for label, curve in found.curves.items()
        for images, accuracies in sorted(curve.items())
        for seed, accuracy in enumerate(accuracies, found.seed)
    ]


def scaling_fits(found: Efficiency) -> dict[str, ScalingFit]:
    """Power laws of the models that have runs of three different sizes or more."""
    fits = {}
    for label, curve in found.curves.items():
        pairs = [(images, 1 - accuracy) for images, values in curve.items() for accuracy in values]
        try:
            fits[label] = fit_scaling([images for images, _ in pairs], [error for _, error in pairs])
        except VitrailError:
            continue
    return fits


def _curves(found: Efficiency) -> str:
    drawn = {label: points(curve) for label, curve in found.curves.items()}
    return line_chart(
        {label: [(point.images, point.mean) for point in line] for label, line in drawn.items()},
        label="Accuracy",
        x_label="training images",
        percent=True,
        log_x=True,
        intervals={
            label: [(point.images, *point.interval) for point in line if point.interval]
            for label, line in drawn.items()
        },
    )


def _scaling(found: Efficiency) -> str:
    fits = scaling_fits(found)
    if not fits:
        return ""
    rows = [[label, *scaling_row(fit)] for label, fit in fits.items()]
    note = "error = floor + scale · images^(−exponent), with bootstrap intervals; the largest number is held out once."
    return section("Scaling laws", table(["model", *SCALING_HEADERS], rows), note)


def _parameters(found: Efficiency) -> str:
    """Accuracy with all images against the number of parameters, with a power law if three sizes or more were tried."""
    rows, dots, pairs = [], {}, []
    for model in found.contestants:
        if model.label not in found.curves:
            continue
        last, cost = points(found.curves[model.label])[-1], model.cost
        fields = ", ".join(f"{name} {value}" for name, value in model.overrides.items())
        sizes = [f"{cost.parameters / 1e6:.2f}", f"{cost.flops / 1e9:.3f}", f"{last.images:,}"]
        rows.append([model.label, fields, *sizes, _accuracy(last)])
        dots[model.label] = [(cost.parameters / 1e6, last.mean)]
        pairs += [(cost.parameters, 1 - accuracy) for accuracy in found.curves[model.label][last.images]]
    chart = line_chart(dots, label="Accuracy", x_label="parameters, millions", percent=True)
    head = ["model", "fields", "M parameters", "GFLOPs an image", "training images", "accuracy"]
    body = table(head, rows, text=2) + chart
    if len({size for size, _ in pairs}) >= 3:
        law = fit_scaling([size for size, _ in pairs], [error for _, error in pairs])
        body += table(["power law", *SCALING_HEADERS], [["parameters", *scaling_row(law)]])
    note = (
        "Accuracy with the most images that were tried. A power law across kinds of models has little meaning: use one."
    )
    return section("Against parameters", body, note)


def _accuracy(point: Point | None) -> str:
    if point is None:
        return "–"
    if point.interval is None:
        return f"{100 * point.mean:.1f} %"
    return f"{100 * point.mean:.1f} ± {100 * max(point.interval[1] - point.mean, point.mean - point.interval[0]):.1f} %"


def _known(cells: list[str], *curves: Curve) -> list[str]:
    """The cells of an estimate, without the interval if a point has one seed, whose spread is not known."""
    one_seed = any(len(values) < 2 for curve in curves for values in curve.values())
    return [cells[0], "one seed"] if one_seed else cells


def _words(found: Estimate, *, images: bool = False) -> list[str]:
    def number(value: float) -> str:
        if not math.isfinite(value):
            return "not reached"
        return f"{value:,.0f} images" if images else f"{value:.2f}×"

    low, high = number(found.low), number(found.high)
    return [number(found.value), low if low == high else f"{low} to {high}"]
