"""The report of a run: one HTML page with metrics, mistakes and facts of the training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from jaxtyping import Float, UInt8
from torch import Tensor

from ...pages.charts import line_chart
from ...pages.html import asset, cautions, facts, page, panes, section, table
from ...tables import write_text
from ...tasks.outcomes import Curve, Evaluation, Mistake, Panel
from ...tasks.worth import images


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnMistake:
    """A held-out image with a wrong prediction.

    Attributes:
        image: uint8 (3, H, W), resized and cropped as for the model.
        name: name of the image.
        words: predicted and true label.
        attention: (rows, columns) attention over the image, or None for a model without attention.
        panels: pictures of truth and prediction, in place of the image; none for a label of the whole image.
    """

    image: UInt8[Tensor, "3 H W"]
    name: str
    words: Mistake
    attention: Float[Tensor, "rows columns"] | None = None
    panels: Sequence[Panel] = ()


@dataclass(frozen=True, slots=True)
class DrawnSample:
    """A training image, uint8 (3, H, W), and its label in words."""

    image: UInt8[Tensor, "3 H W"]
    label: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnConflict:
    """An image that occurs more than once, with different labels.

    Attributes:
        image: uint8 (3, H, W), as in `DrawnMistake`.
        members: (name, label in words) of each file.
    """

    image: UInt8[Tensor, "3 H W"]
    members: Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Content of the page. All but the sections is plain text or numbers; the page escapes it.

    Attributes:
        title: names of the source and the run.
        summary: main facts, such as {"model": "...", "images": "1,437 train, 360 validation"}.
        history: the rows of metrics.jsonl.
        curve: chart of the quality over the epochs.
        loss_words: what the validation loss is, if another quantity than the training loss.
        evaluation: evaluation of the best weights on held-out images.
        cautions: sentences on what the result is worth.
        sections: HTML sections of the task and the objective.
        mistakes: the worst first; may be empty.
        batch: augmented images with the normalisation undone.
        recipe_yaml: the complete recipe.
        versions: name -> version or commit.
        conflict_count: number of groups of equal images with different labels.
        conflicts: the first of these groups.
        commands: next commands, to be run in the folder of the run.
        beside: name -> rows of metrics.jsonl of other runs, whose validation curves are drawn too.
    """

    title: str
    summary: Mapping[str, str]
    history: Sequence[Mapping[str, Any]]
    curve: Curve
    loss_words: str = ""
    evaluation: Evaluation
    cautions: Sequence[str] = ()
    sections: Sequence[str] = ()
    mistakes: Sequence[DrawnMistake] = ()
    batch: Sequence[DrawnSample] = ()
    recipe_yaml: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    conflict_count: int = 0
    conflicts: Sequence[DrawnConflict] = ()
    commands: Sequence[str] = ()
    beside: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)


def write_report(path: Path, report: Report) -> None:
    """Write the page as one self-contained file."""
    write_text(path, report_page(report))


def report_page(report: Report) -> str:
    """Return the HTML document."""
    parts = [
        facts([*headline(report.evaluation), *report.summary.items()]),
        cautions(report.cautions),
        _bad(len(report.evaluation.bad)),
        _curves(report),
        _mistakes(report.mistakes),
        _conflicts(report),
        *report.sections,
        _batch(report),
        _recipe(report),
        _next(report.commands),
    ]
    return page(report.title, '<p class="soft">Report of a training run</p>', parts, scripts=[("", asset("sort.js"))])


def headline(evaluation: Evaluation) -> list[tuple[str, str]]:
    """(name, value) of the main metrics."""
    return [*evaluation.facts(), ("measured on", images(evaluation.count))]


def _bad(count: int) -> str:
    if not count:
        return ""
    files = "1 file" if count == 1 else f"{count:,} files"
    return f'<p class="note">{files} could not be used and were left out: see bad_files.csv.</p>'


_FEATURES = (
    (
        "Effective rank of the embeddings",
        "val_rank",
        "How many directions the embeddings of the validation images fill, counting weak ones less. "
        "Higher is better; 1 means that all embeddings lie on one line.",
    ),
    (
        "Spread of the embeddings",
        "val_spread",
        "How much the directions of the embeddings differ between images: about 1 if they point everywhere, "
        "0 if all images have the same one.",
    ),
)
"""Title, column of the metric log, and explanation of a chart."""


def _curves(report: Report) -> str:
    def curve(key: str) -> list[tuple[float, float]]:
        return _curve(report.history, key)

    def others(key: str, line: str) -> dict[str, list[tuple[float, float]]]:
        return {f"{line}, {name}": _curve(rows, key) for name, rows in report.beside.items()}

    quality, known = report.curve, {key for row in report.history for key in row}
    parts = sorted(key.removeprefix("train_") for key in known if key.startswith("train_") and key != "train_loss")
    loss = {"training": curve("train_loss"), "validation": curve("val_loss"), **others("val_loss", "validation")}
    lines = {name: curve(key) for name, key in quality.columns.items()}
    for name, key in quality.columns.items():
        lines |= others(key, name)
    charts = [
        ("Loss", line_chart(loss, label="Loss", x_label="epoch")),
        *(
            [(quality.title, line_chart(lines, label=quality.title, x_label="epoch", percent=quality.percent))]
            if set(quality.columns.values()) != {"val_loss"}  # which the first chart has
            else []
        ),
        *(
            (
                part[:1].upper() + part[1:].replace("_", " "),
                line_chart(
                    {"training": curve(f"train_{part}"), "validation": curve(f"val_{part}")},
                    label=part,
                    x_label="epoch",
                ),
            )
            for part in parts
        ),
        *((title, line_chart({"validation": curve(key)}, label=title, x_label="epoch")) for title, key, _ in _FEATURES),
        ("Learning rate", line_chart({"learning rate": curve("lr")}, label="Learning rate", x_label="epoch")),
    ]
    explained = {title: note for title, _, note in _FEATURES}
    if report.loss_words:
        explained["Loss"] = f"The training loss is the objective's, the validation loss is {escape(report.loss_words)}."
    notes = {title: f'<p class="note">{note}</p>' for title, note in explained.items()}
    drawn = "".join(
        f"<div><h3>{escape(name)}</h3>{notes.get(name, '')}{chart}</div>" for name, chart in charts if chart
    )
    return section("How it learned", f'<div class="charts">{drawn}</div>') if drawn else ""


def _curve(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    """(epoch, value) of a column of a metric log, where it has one."""
    return [(float(row["epoch"]), float(row[key])) for row in rows if row.get(key) is not None]


def _mistakes(mistakes: Sequence[DrawnMistake]) -> str:
    if any(one.panels for one in mistakes):
        return _beside(mistakes)
    figures = "".join(
        f"<figure>{panes(one.image, one.attention, f'{one.name}, truly {one.words.truth}')}"
        f"<figcaption><b>{escape(one.words.predicted)}</b> {escape(one.words.size)}, truly "
        f"<b>{escape(one.words.truth)}</b><br>{escape(one.name)}</figcaption></figure>"
        for one in mistakes
    )
    note = "Held-out images with the worst predictions, the worst first; bright cells have the most attention."
    return section("Worst mistakes", f'<div class="thumbs">{figures}</div>', note) if figures else ""


def _beside(mistakes: Sequence[DrawnMistake]) -> str:
    """Mistakes that have places: the truth and the prediction side by side."""
    figures = "".join(
        f'<figure class="beside"><div>{"".join(_panel(panel, one.name) for panel in one.panels)}</div>'
        f"<figcaption><b>{escape(one.words.predicted)}</b>, truly <b>{escape(one.words.truth)}</b>: "
        f"{escape(one.words.size)}<br>{escape(one.name)}</figcaption></figure>"
        for one in mistakes
    )
    note = "Held-out images with the worst predictions, the worst first."
    return section("Worst predictions", f'<div class="pairs">{figures}</div>', note)


def _panel(panel: Panel, name: str) -> str:
    label = f"{name}, {panel.caption}"
    return f"<div>{panes(panel.image, None, label)}<small>{escape(panel.caption)}</small></div>"


def _conflicts(report: Report) -> str:
    if not report.conflict_count:
        return ""
    figures = "".join(
        f"<figure>{panes(one.image, None, 'an image with several labels')}<figcaption>"
        + "<br>".join(f"<b>{escape(label)}</b> {escape(name)}" for name, label in one.members)
        + "</figcaption></figure>"
        for one in report.conflicts
    )
    groups = "1 image occurs" if report.conflict_count == 1 else f"{report.conflict_count:,} images occur"
    note = f"{groups} more than once with different labels, of which at most one can be right. All: conflicts.csv."
    return section("Equal images with different labels", f'<div class="thumbs">{figures}</div>', note)


def _batch(report: Report) -> str:
    if not report.batch:
        return ""
    figures = "".join(
        f"<figure>{panes(one.image, None, one.label or 'a training image')}"
        f"<figcaption>{escape(one.label)}</figcaption></figure>"
        for one in report.batch
    )
    note = "Training images after augmentation, with the normalisation undone."
    return section("A batch as the model sees it", f'<div class="images">{figures}</div>', note)


def _recipe(report: Report) -> str:
    body = f"<details><summary>recipe.yaml</summary><pre>{escape(report.recipe_yaml)}</pre></details>"
    if report.versions:
        body += table(("made with", "version"), report.versions.items(), text=2)
    return section("How to make it again", body)


def _next(commands: Sequence[str]) -> str:
    lines = "\n".join(escape(command) for command in commands)
    return section("What to do next", f"<pre>{lines}</pre>", "In the folder of the run.") if commands else ""
