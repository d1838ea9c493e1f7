"""The model card: README.md of a run folder, with the front matter that model hubs read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from .report import Report, headline


@dataclass(frozen=True, kw_only=True, slots=True)
class CardFacts:
    """Facts of the model card that are not in the report.

    Attributes:
        model: the variant's name, or what was fine-tuned.
        dataset: the training source, as the user named it.
        start: origin of the weights, as a phrase: "trained from random weights".
        gives: the model's output in words: "one of 3 classes: cat, cow, dog".
        task: the pipeline tag of the model hubs, such as "image-classification".
        license: licence of the weights; only their owner can know it.
        limits: sentences on where the numbers do not apply.
    """

    model: str
    dataset: str
    start: str
    gives: str
    task: str
    license: str = "unknown"
    limits: str = ""


def write_card(path: Path, report: Report, facts: CardFacts) -> None:
    """Write README.md.

    Args:
        report: the content of the report.
        facts: facts that only the card has.
    """
    parts = [
        _front_matter(facts, report.evaluation.card_metrics()),
        f"# {_line(report.title)}\n\n{_what(facts)}",
        f"## Results\n\n{_table(('measure', 'value'), headline(report.evaluation))}\n\n"
        "In detail, with the curves and the worst mistakes: `report.html`.",
        f"## Data\n\n{_data(report, facts.dataset)}",
        f"## How to use it\n\n{_USE}",
        f"## Limits\n\n{facts.limits}",
        "## Recipe\n\nThe run can be repeated from it: `vitrail train SOURCE --recipe recipe.yaml`.\n\n"
        + _fenced("yaml", report.recipe_yaml.strip()),
        f"## Versions\n\n{_table(('made with', 'version'), list(report.versions.items()))}",
    ]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


_USE = """\
In this folder:

```sh
vitrail predict . photos/ --format csv
vitrail explain . photo.jpg
vitrail eval . labelled-photos/
```

```python
import vitrail

checkpoint = vitrail.load(".")
print(checkpoint.class_names)
for row in vitrail.predict(checkpoint, ["photo.jpg"]):
    print(row)
```"""


def _front_matter(facts: CardFacts, measures: dict[str, float]) -> str:
    result = {
        "task": {"type": facts.task},
        "dataset": {"name": facts.dataset, "type": facts.dataset},
        "metrics": [{"type": kind, "value": round(value, 4)} for kind, value in measures.items()],
    }
    values = {
        "license": facts.license,
        "library_name": "vitrail",
        "pipeline_tag": facts.task,
        "tags": [facts.task, "vision-transformer", "vitrail"],
        "model-index": [{"name": facts.model, "results": [result]}],
    }
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---"


def _what(facts: CardFacts) -> str:
    return (
        f"A Vision Transformer, {_code(facts.model)}, {_line(facts.start)} on {_line(facts.dataset)} with vitrail. "
        f"It gives for an image {_line(facts.gives)}."
    )


def _data(report: Report, dataset: str) -> str:
    rows = [("source", dataset), *report.summary.items()]
    if report.bad_count:
        rows.append(("files left out", f"{report.bad_count:,}, see bad_files.csv"))
    return _table(("", ""), rows) + "\n\nWhich image went into which part: `splits.csv`."


def _table(head: tuple[str, str], rows: Sequence[tuple[str, str]]) -> str:
    lines = [f"| {_line(name)} | {_line(value)} |" for name, value in rows]
    return "\n".join([f"| {head[0]} | {head[1]} |", "|---|---|", *lines])


def _line(text: str) -> str:
    """Escape text so that it cannot end the line or the cell, or become HTML, a link, an image, code or emphasis."""
    cleaned = " ".join(str(text).split()).translate(_ESCAPES)
    # Inside a word, as in vit_tiny, an underscore has no meaning.
    return _unlinked(re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\_", cleaned))


_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", **{sign: f"\\{sign}" for sign in "\\`*[]|~$"}})
"""Signs of GitHub's Markdown inside a line; a backslash before one makes it plain, also in cells of tables."""


def _unlinked(text: str) -> str:
    """Bare addresses (https://, www., a@b) with a character reference in them, which is shown alike and is no link."""
    text = text.replace("://", "&#58;//").replace("@", "&#64;")
    return re.sub(r"(?i)\bwww\.", lambda found: f"{found[0][:-1]}&#46;", text)


def _fenced(language: str, text: str) -> str:
    """A block of code; its fence is longer than any row of backticks in it, which would end it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def _code(text: str) -> str:
    """A name in backticks, in which nothing has a meaning but backticks."""
    return f"`{' '.join(str(text).split()).replace('`', chr(39))}`"
