"""A layer study as a table for a terminal, as CSV, and as a chart."""

from collections.abc import Callable
from pathlib import Path

from ..pages.charts import line_chart
from ..pages.files import ResultFiles, results
from ..pages.html import section
from .layers import Layer, LayerStudy

_COLUMNS: dict[str, Callable[[Layer], float | None]] = {
    "probe: class": lambda layer: layer.probe_class,
    "probe: mean": lambda layer: layer.probe_mean,
    "lens": lambda layer: layer.lens,
    "lens = answer": lambda layer: layer.agrees,
    "follows shift": lambda layer: layer.follows,
}


def table(study: LayerStudy) -> tuple[list[str], list[list[str]]]:
    """Headers and rows for `print_table`, without the columns that are empty for all layers."""
    headers = ["layer", "width", "probe: class", "probe: mean", "lens", "lens = answer", "follows shift"]
    rows = [
        [
            layer.name.removeprefix("encoder."),
            str(layer.width),
            *map(_percent, (layer.probe_class, layer.probe_mean, layer.lens, layer.agrees)),
            "" if layer.follows is None else f"{layer.follows:.3f}",
        ]
        for layer in study.layers
    ]
    kept = [column for column in range(len(headers)) if any(row[column] for row in rows)]
    return [headers[column] for column in kept], [[row[column] for column in kept] for row in rows]


def files(study: LayerStudy, model: str) -> ResultFiles:
    """Content of the files that `-o` writes.

    Args:
        model: name of the checkpoint.
    """
    values = [[of(layer) for of in _COLUMNS.values()] for layer in study.layers]
    rows = [
        [layer.name, layer.width, *("" if value is None else f"{value:.6g}" for value in row)]
        for layer, row in zip(study.layers, values, strict=True)
    ]
    return ResultFiles(
        name="layers",
        title=f"Layers of {Path(model).name or model}",
        notes=study.notes,
        table=table(study),
        csv={"layers": [["layer", "width", *_COLUMNS], *rows]},
        sections=[results(table(study), "layers"), _chart(study)],
    )


def _chart(study: LayerStudy) -> str:
    series = {}
    for name in ("probe: class", "probe: mean", "lens"):
        values = [_COLUMNS[name](layer) for layer in study.layers]
        series[name] = [(float(place), value) for place, value in enumerate(values) if value is not None]
    chart = line_chart(series, label="Accuracy", x_label="layer", percent=True)
    return section("Accuracy by layer", chart, "Of linear probes, and of the model's own head on each layer.")


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"
