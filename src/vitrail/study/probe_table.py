"""A probe study as a table for a terminal, as CSV, and as charts."""

from collections.abc import Iterable
from html import escape
from pathlib import Path

from ..evaluation.probe.few_shot import SHOTS
from ..evaluation.probe.knn import NEIGHBOURS
from ..evaluation.probe.scores import ProbeScore
from ..pages.charts import line_chart
from ..pages.files import ResultFiles, results
from ..pages.html import section
from ..pages.html import table as html_table
from ..tasks.worth import percent_interval
from .probe import ProbedSource, ProbeStudy
from .robustness_table import column_names

_DRAWN = 4
"""Sources in one chart, which has as many colours."""


def table(study: ProbeStudy) -> tuple[list[str], list[list[str]]]:
    """Headers and rows for `print_table`: a column for each source and their mean, or for one source its interval."""
    headers = ["probe", *_short(study)]
    headers += ["mean"] if len(study.sources) > 1 else ["95 % interval"]
    rows = []
    for name in _names(study):
        found = [_by_name(source).get(name) for source in study.sources]
        cells = ["–" if score is None else _cell(score) for score in found]
        rows.append([name, *cells, _mean(found) if len(found) > 1 else _interval(found[0])])
    return headers, rows


def notes(study: ProbeStudy) -> list[str]:
    """Sentences about the images, the features and the probes that could not be measured."""
    sentences = [f"{study.features}, {study.width} numbers for each image"]
    several = len(study.sources) > 1
    for name, source in zip(_short(study), study.sources, strict=True):
        about = f"{name}: " if several else ""
        majority = _by_name(source).get("majority class")
        worst = f"; the majority class is {majority.note}" if majority else ""
        sentences.append(f"{about}{source.metric}; {source.note}{worst}")
        sentences += [f"{about}{score.name}: {score.note}" for score in source.scores if score.value is None]
    return sentences


def files(study: ProbeStudy, model: str) -> ResultFiles:
    """Content of the files that `-o` writes.

    Args:
        model: name of the checkpoint.
    """
    charts = (_few_shot_chart(study), _knn_chart(study), _intervals(study))
    return ResultFiles(
        name="probe",
        title=f"Probes of {Path(model).name or model}",
        notes=notes(study),
        table=table(study),
        csv={"probe": [_HEAD, *_rows(study)]},
        sections=[results(table(study), "probe"), *filter(None, charts)],
    )


_HEAD = ("source", "probe", "metric", "value", "low", "high", "images to fit", "images to score", "note")


def _rows(study: ProbeStudy) -> Iterable[list[object]]:
    for source in study.sources:
        for score in source.scores:
            metric = source.metric if score.unit == "share" else "number"
            numbers = [
                "" if value is None else f"{value:.6g}" for value in (score.value, *(score.interval or (None,) * 2))
            ]
            yield [source.name, score.name, metric, *numbers, source.train, source.test, score.note]


def _names(study: ProbeStudy) -> list[str]:
    longest = max(study.sources, key=lambda source: len(source.scores))
    return [score.name for score in longest.scores]


def _short(study: ProbeStudy) -> list[str]:
    """Names of the sources that differ, without folders; the CSV file has them as they were given."""
    return column_names([source.name for source in study.sources])


def _by_name(source: ProbedSource) -> dict[str, ProbeScore]:
    return {score.name: score for score in source.scores}


def _cell(score: ProbeScore) -> str:
    if score.value is None:
        return "too few" if score.note.startswith("too few") else "–"
    return f"{100 * score.value:.1f} %" if score.unit == "share" else f"{score.value:.2f}"


def _mean(found: list[ProbeScore | None]) -> str:
    values = [score.value for score in found if score is not None and score.value is not None]
    first = next(score for score in found if score is not None)
    if len(values) < len(found):
        return "–"
    return _cell(ProbeScore(first.name, sum(values) / len(values), unit=first.unit))


def _interval(score: ProbeScore | None) -> str:
    return percent_interval(score.interval) if score is not None and score.interval else ""


def _few_shot_chart(study: ProbeStudy) -> str:
    names = {f"{shots} image{'s' * (shots > 1)} a class": shots for shots in SHOTS}
    note = "Ridge classifiers on a few images of each class, mean over three draws."
    return _chart(study, names, "Few images", "images of each class", note)


def _knn_chart(study: ProbeStudy) -> str:
    names = {f"kNN, k = {k}": k for k in NEIGHBOURS}
    return _chart(study, names, "Nearest neighbours", "neighbours k", "Cosine similarity, weighted votes.")


def _chart(study: ProbeStudy, names: dict[str, int], title: str, x_label: str, note: str) -> str:
    series = {
        name: [
            (float(names[score.name]), score.value)
            for score in source.scores
            if score.name in names and score.value is not None
        ]
        for name, source in zip(_short(study)[:_DRAWN], study.sources, strict=False)
    }
    chart = line_chart(series, label=title, x_label=x_label, percent=True)
    more = f" The first {_DRAWN} sources." if len(study.sources) > _DRAWN else ""
    return section(title, chart, note + more) if chart else ""


def _intervals(study: ProbeStudy) -> str:
    """Tables with the intervals of each source, if there are several; for one the main table has them."""
    if len(study.sources) < 2:
        return ""
    parts = [
        f"<h3>{escape(name)}</h3>"
        + html_table(
            ("probe", source.metric, "95 % interval"),
            [(score.name, _cell(score), _interval(score)) for score in source.scores],
        )
        for name, source in zip(_short(study), study.sources, strict=True)
    ]
    note = "Of an accuracy over the scored images (Wilson), of few images over the draws (Student's t)."
    return section("Intervals", "".join(parts), note)
