"""The report of a run: one page that says how good the model is, where it fails, and how it was made."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from jaxtyping import Float, UInt8
from torch import Tensor

from ..evaluation.metrics import Evaluation
from ..pages.charts import line_chart, reliability_chart
from ..pages.html import asset, facts, page, panes, section, table

LARGEST_MATRIX = 30
"""With more classes than this, the confusion matrix becomes a list of the most confused pairs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """A picture that the model is sure of, and wrong about.

    Attributes:
        image: uint8 (3, H, W), as the model sees it.
        attention: (rows, columns) over the image, or None for a model without attention.
    """

    image: UInt8[Tensor, "3 H W"]
    name: str
    truth: str
    predicted: str
    probability: float
    attention: Float[Tensor, "rows columns"] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What the page shows. Everything is plain text or numbers; the page escapes it.

    Attributes:
        title: the run's name.
        summary: headline facts, such as {"model": "...", "images": "1,437 train, 360 validation"}.
        history: the rows of metrics.jsonl.
        evaluation: of the best weights, on held-out samples.
        mistakes: the worst first; may be empty.
        batch: uint8 (B, 3, H, W), augmented pictures with the normalisation undone, and what they are
            labelled.
        recipe_yaml: the complete recipe.
        versions: name -> version or commit.
        bad_count: files that could not be used and were left out.
        commands: what to type next.
    """

    title: str
    summary: Mapping[str, str]
    history: Sequence[Mapping[str, Any]]
    evaluation: Evaluation
    mistakes: Sequence[Mistake] = ()
    batch: UInt8[Tensor, "B 3 H W"] | None = None
    batch_labels: Sequence[str] = ()
    recipe_yaml: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    bad_count: int = 0
    commands: Sequence[str] = ()


def write_report(path: Path, report: Report) -> None:
    """Write the page, self-contained."""
    path.write_text(report_page(report), encoding="utf-8")


def report_page(report: Report) -> str:
    """The document."""
    evaluation = report.evaluation
    parts = [
        facts([*headline(evaluation), *report.summary.items()]),
        _bad(report.bad_count),
        _curves(report.history),
        _confusion(evaluation),
        _mistakes(report.mistakes),
        _per_class(evaluation),
        _calibration(evaluation),
        _batch(report),
        _recipe(report),
        _next(report.commands),
    ]
    return page(report.title, '<p class="soft">Report of a training run</p>', parts, script=asset("sort.js"))


def headline(evaluation: Evaluation) -> list[tuple[str, str]]:
    """The numbers that a reader asks for first, with their names."""
    values = [
        ("top-1 accuracy", evaluation.top1),
        ("top-5 accuracy", evaluation.top5 if len(evaluation.per_class) > 5 else None),
        ("mean average precision", evaluation.mean_average_precision),
        ("F1, mean over classes", evaluation.macro_f1),
    ]
    shown = [(name, f"{100 * value:.2f} %") for name, value in values if value is not None]
    return [*shown, ("measured on", f"{evaluation.count:,} pictures")]


def _bad(count: int) -> str:
    if not count:
        return ""
    files = "1 file" if count == 1 else f"{count:,} files"
    return f'<p class="note">{files} could not be used and were left out: see bad_files.csv.</p>'


def _curves(history: Sequence[Mapping[str, Any]]) -> str:
    def curve(key: str) -> list[tuple[float, float]]:
        return [(float(row["epoch"]), float(row[key])) for row in history if row.get(key) is not None]

    quality = {"top-1": curve("val_top1"), "mean average precision": curve("val_mean_average_precision")}
    loss = {"training": curve("train_loss"), "validation": curve("val_loss")}
    charts = [
        ("Loss", line_chart(loss, label="Loss", x_label="epoch")),
        (
            "Validation accuracy",
            line_chart(quality, label="Validation accuracy", x_label="epoch", percent=True),
        ),
        ("Learning rate", line_chart({"learning rate": curve("lr")}, label="Learning rate", x_label="epoch")),
    ]
    drawn = "".join(f"<div><h3>{name}</h3>{chart}</div>" for name, chart in charts if chart)
    return section("How it learned", f'<div class="charts">{drawn}</div>') if drawn else ""


def _confusion(evaluation: Evaluation) -> str:
    if evaluation.confusion is None:
        return ""
    names = [row.name for row in evaluation.per_class]
    if len(names) > LARGEST_MATRIX:
        pairs = confused_pairs(evaluation.confusion)[:LARGEST_MATRIX]
        rows = [(names[truth], names[guess], count, _percent(share)) for truth, guess, count, share in pairs]
        body = table(("true class", "taken for", "pictures", "of the class"), rows, text=2)
        return section("What it confuses", body, f"The most confused pairs of {len(names)} classes.")
    body = f'<div class="scroll">{_matrix(names, evaluation.confusion)}</div>'
    return section("What it confuses", body, "A row is a true class, a column what the model says.")


def _matrix(names: Sequence[str], confusion: Sequence[Sequence[int]]) -> str:
    heads = "".join(f'<th scope="col"><span>{escape(name)}</span></th>' for name in names)
    rows = ""
    for truth, counts in enumerate(confusion):
        total = sum(counts) or 1
        cells = ""
        for guess, count in enumerate(counts):
            share, hue = count / total, "--glass" if truth == guess else "--ruby"
            kind = "zero" if count == 0 else "deep" if share > 0.45 else ""
            part = 0 if count == 0 else 12 + 88 * share
            cells += f'<td class="{kind}" style="--hue:var({hue});--part:{part:.0f}%">{count}</td>'
        rows += f'<tr><th scope="row">{escape(names[truth])}</th>{cells}</tr>'
    kind = "confusion short" if all(len(name) <= 3 for name in names) else "confusion"
    return f'<table class="{kind}"><thead><tr><th></th>{heads}</tr></thead><tbody>{rows}</tbody></table>'


def confused_pairs(confusion: Sequence[Sequence[int]]) -> list[tuple[int, int, int, float]]:
    """(true class, predicted class, count, share of the true class), the most frequent confusion first."""
    pairs = [
        (truth, guess, count, count / sum(counts))
        for truth, counts in enumerate(confusion)
        for guess, count in enumerate(counts)
        if count and truth != guess
    ]
    return sorted(pairs, key=lambda pair: (-pair[2], -pair[3], pair[:2]))


def _mistakes(mistakes: Sequence[Mistake]) -> str:
    figures = "".join(
        f"<figure>{panes(one.image, one.attention, f'{one.name}, truly {one.truth}')}"
        f"<figcaption><b>{escape(one.predicted)}</b> {one.probability:.0%}, truly <b>{escape(one.truth)}</b>"
        f"<br>{escape(one.name)}</figcaption></figure>"
        for one in mistakes
    )
    note = "Held-out pictures that the model is most sure of, and wrong about; bright panes are where it looked."
    return section("Its worst mistakes", f'<div class="thumbs">{figures}</div>', note) if figures else ""


def _per_class(evaluation: Evaluation) -> str:
    multi = evaluation.task == "multi"
    head = ["class", "pictures", "precision", "recall", "F1", *(["average precision"] if multi else [])]
    rows = [
        [row.name, row.support, _percent(row.precision), _percent(row.recall), _percent(row.f1)]
        + ([_percent(row.average_precision)] if multi else [])
        for row in evaluation.per_class
    ]
    body = table(head, rows, sortable=True)
    if len(rows) > LARGEST_MATRIX:
        body = f"<details><summary>All {len(rows)} classes</summary>{body}</details>"
    return section("Class by class", body)


def _calibration(evaluation: Evaluation) -> str:
    if evaluation.reliability is None or evaluation.ece is None:
        return ""
    chart = reliability_chart([(row.low, row.high, row.count, row.accuracy) for row in evaluation.reliability])
    note = (
        f"Expected calibration error {100 * evaluation.ece:.1f} % ({len(evaluation.reliability)} bins). Bars "
        "below the dashed line: surer than right; above it: more often right than it claims. The darker a "
        "bar, the more pictures."
    )
    return section("How far to trust its confidence", f'<div class="charts">{chart}</div>', note)


def _batch(report: Report) -> str:
    if report.batch is None:
        return ""
    labels = [*report.batch_labels, *[""] * len(report.batch)]
    figures = "".join(
        f"<figure>{panes(picture, None, label or 'a training picture')}"
        f"<figcaption>{escape(label)}</figcaption></figure>"
        for picture, label in zip(report.batch, labels, strict=False)
    )
    note = "Training pictures after augmentation, with the normalisation undone."
    return section("A batch as the model sees it", f'<div class="pictures">{figures}</div>', note)


def _recipe(report: Report) -> str:
    body = f"<details><summary>recipe.yaml</summary><pre>{escape(report.recipe_yaml)}</pre></details>"
    if report.versions:
        body += table(("made with", "version"), report.versions.items(), text=2)
    return section("How to make it again", body)


def _next(commands: Sequence[str]) -> str:
    lines = "\n".join(escape(command) for command in commands)
    return section("What to do next", f"<pre>{lines}</pre>") if commands else ""


def _percent(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{100 * value:.1f} %"
