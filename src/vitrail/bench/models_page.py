"""The benchmark of models as a table, CSV file and page."""

import math
from collections.abc import Iterator

from ..pages.files import ResultFiles, Table, results
from ..pages.html import section
from ..pages.spread_chart import spread_chart
from .model_race import HeatResults, Result
from .models import ModelBench

_HEAD = (
    "library, engine, format",
    "model",
    "batch",
    "threads",
    "ms a batch",
    "quartiles",
    "images/s",
    "ratio",
    "of peak",
    "difference",
)
_CSV_HEAD = (
    *("model", "batch_size", "threads", "library", "engine", "precision", "seconds_minimum", "seconds_lower_quartile"),
    *("seconds_median", "seconds_upper_quartile", "images_per_second", "ratio", "baseline", "share_of_peak"),
    *("difference", "failed"),
)


def files(found: ModelBench) -> ResultFiles:
    """Content of the page and the CSV table."""
    table: Table = (_HEAD, [_cells(heat, result) for heat in found.heats for result in heat.results])
    return ResultFiles(
        name="models",
        title="Speed of models on this machine",
        csv={"models": [_CSV_HEAD, *_csv_rows(found)]},
        sections=[*(_picture(heat) for heat in found.heats), results(table, "models")],
        table=table,
        subtitle=f"{found.machine}; {', '.join(f'{name} {number}' for name, number in found.versions.items())}",
        notes=[*_circumstances(found), *found.notes],
        facts=_facts(found),
        cautions=_failures(found),
        styles="\ntd.text:first-child { white-space: nowrap; }\n",
    )


def _cells(heat: HeatResults, result: Result) -> list[str]:
    shared = [str(result.contender), heat.heat.model, str(heat.heat.batch_size), str(heat.heat.threads)]
    if result.seconds is None:
        return [*shared, "–", "–", "–", "–", "–", "failed"]
    spread = result.seconds
    return [
        *shared,
        f"{1000 * spread.median:.1f}",
        f"{1000 * spread.lower:.1f}–{1000 * spread.upper:.1f}",
        f"{heat.heat.batch_size / spread.median:.1f}",
        f"{result.ratio:.2f}×",
        f"{100 * result.share:.0f} %",
        f"{result.difference:.1e}",
    ]


def _csv_rows(found: ModelBench) -> Iterator[list[object]]:
    for heat in found.heats:
        for result in heat.results:
            own = result.contender
            times: list[object] = [""] * 5
            if result.seconds is not None:
                spread = result.seconds
                throughput = heat.heat.batch_size / spread.median
                times = [spread.minimum, spread.lower, spread.median, spread.upper, throughput]
            numbers = (result.ratio, heat.baseline, result.share, result.difference, result.failed or "")
            yield [
                *(heat.heat.model, heat.heat.batch_size, heat.heat.threads, own.library, own.engine, own.precision),
                *times,
                *("" if isinstance(value, float) and math.isnan(value) else value for value in numbers),
            ]


def _picture(heat: HeatResults) -> str:
    """Throughput of every contender of a heat."""
    size = heat.heat.batch_size
    rows = {
        str(result.contender): (size / result.seconds.upper, size / result.seconds.median, size / result.seconds.lower)
        for result in heat.results
        if result.seconds is not None
    }
    chart = spread_chart(rows, label=f"images a second, {heat.heat}", x_label="images/s: median and quartiles")
    return section(str(heat.heat), chart, f"Ratios refer to {heat.baseline}.")


def _circumstances(found: ModelBench) -> list[str]:
    baselines = " or ".join(dict.fromkeys(str(heat.baseline) for heat in found.heats))
    peaks = ", ".join(
        f"{precision} with {threads} thread{'s' * (threads > 1)} {peak / 1e9:,.0f} GFLOP/s"
        for (threads, precision), peak in sorted(found.peaks.items())
    )
    return [
        "every contender runs once in each round, with the same weights and pixels; the ratio is the median over the "
        f"rounds of the time of {baselines} in units of its own",
        f"peak: the speed of a large matrix product in PyTorch, {peaks}",
    ]


def _facts(found: ModelBench) -> list[tuple[str, str]]:
    """The fastest contender of each heat."""
    facts = []
    for heat in found.heats:
        best = heat.results[0]
        facts.append((str(heat.heat), f"{best.contender}, {best.ratio:.2f}×"))
    return facts


def _failures(found: ModelBench) -> list[str]:
    """A sentence for each contender that was not measured."""
    sentences = (
        f"{result.contender} failed for {heat.heat}: {result.failed}"
        for heat in found.heats
        for result in heat.results
        if result.failed
    )
    return list(dict.fromkeys(sentences))
