"""The model card: README.md of a run folder, with the front matter that model hubs read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from ...tables import write_text
from .report import Report, headline


@dataclass(frozen=True, kw_only=True, slots=True)
class CardFacts:
    """Facts of the model card that are not in the report.

    Attributes:
        model: the variant's name, or what was fine-tuned.
        dataset: the training source, as the user named it.
        origin: origin of the weights in words: "trained from random weights on flowers".
        gives: the model's output in words: "one of 3 classes: cat, cow, dog".
        task: the pipeline tag of the model hubs, such as "image-classification".
        license: licence of the weights; only their owner can know it.
        author: name of the author, or "".
        limits: sentences on where the numbers do not apply.
        predicts: False for a model without classes or numbers, whose output is features.
        compares: whether images are compared with texts, so that a prediction needs classes.
        attends: False for a model without attention, such as a ResNet, which is no Vision Transformer.
    """

    model: str
    dataset: str
    origin: str
    gives: str
    task: str
    license: str = "unknown"
    author: str = ""
    limits: str = ""
    predicts: bool = True
    compares: bool = False
    attends: bool = True


def write_card(path: Path, report: Report, facts: CardFacts) -> None:
    """Write README.md.

    Args:
        report: the content of the report.
        facts: facts that only the card has.
    """
    parts = [
        _front_matter(facts, report.evaluation.card_metrics()),
        f"# {_line(report.title)}\n\n{_what(facts)}",
        f"## Results\n\n{_table(('measure', 'value'), headline(report.evaluation))}\n\n{_cautions(report)}"
        f"In detail, with the curves{' and the worst mistakes' * bool(report.mistakes)}: `report.html`.",
        f"## Data\n\n{_data(report, facts.dataset)}",
        f"## How to use it\n\nIn this folder:\n\n{_use(facts)}",
        f"## Limits\n\n{facts.limits}",
        f"## Recipe\n\nThe run can be repeated from it: `vitrail train SOURCE --recipe recipe.yaml`.\n\n"
        f"{_fenced(report.recipe_yaml.strip(), 'yaml')}",
        f"## Versions\n\n{_table(('made with', 'version'), list(report.versions.items()))}",
    ]
    write_text(path, "\n\n".join(parts) + "\n")


_USE = """\
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

_USE_TEXTS = """\
```sh
vitrail predict . photos/ --classes "a cat;a dog"
vitrail embed . photos/ -o vectors.npz
vitrail study retrieval . captioned-photos.csv
```

```python
import vitrail

checkpoint = vitrail.load(".")
for row in vitrail.predict(checkpoint, ["photo.jpg"], classes=["a cat", "a dog"]):
    print(row)
```"""

_USE_FEATURES = """\
```sh
vitrail embed . photos/ -o vectors.npz
vitrail explain . photo.jpg
vitrail study probe . labelled-photos/
vitrail train labelled-photos/ --weights . --recipe finetune
```

```python
import vitrail

checkpoint = vitrail.load(".")
print(vitrail.embed(checkpoint, ["photo.jpg"]).vectors.shape)
```"""


def _use(facts: CardFacts) -> str:
    if facts.compares:
        return _USE_TEXTS
    return _USE if facts.predicts else _USE_FEATURES


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
        "tags": [facts.task, *(["vision-transformer"] if facts.attends else []), "vitrail"],
        "model-index": [{"name": facts.model, "results": [result]}],
    }
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---"


def _what(facts: CardFacts) -> str:
    author = f" By {_line(facts.author)}." if facts.author else ""
    kind = "Vision Transformer" if facts.attends else "vision model"
    return (
        f"A {kind}, {_line(facts.model)}, {_line(facts.origin)} with vitrail.{author} "
        f"Its output for an image is {_line(facts.gives)}."
    )


def _cautions(report: Report) -> str:
    return "".join(f"* {_line(sentence)}\n" for sentence in report.cautions) + "\n" * bool(report.cautions)


def _data(report: Report, dataset: str) -> str:
    rows = list({"data": dataset, **report.summary}.items())
    if report.evaluation.bad:
        rows.append(("files left out", f"{len(report.evaluation.bad):,}, see bad_files.csv"))
    if report.conflict_count:
        rows.append(("equal images with different labels", f"{report.conflict_count:,} groups, see conflicts.csv"))
    return _table(("", ""), rows) + "\n\nWhich image went into which part: `splits.csv`."


def _table(head: tuple[str, str], rows: Sequence[tuple[str, str]]) -> str:
    lines = [f"| {_line(name)} | {_line(value)} |" for name, value in rows]
    return "\n".join([f"| {head[0]} | {head[1]} |", "|---|---|", *lines])


_MARKUP = re.compile(r"[\\`*\[\]|~$]|(?<!\w)_|_(?!\w)|^[#+=-]")
_LIST = re.compile(r"^(\d+)([.)])(?=\s|$)")
"""Markdown's marks; at the beginning also those of headings and lists. A class may be named `[x](javascript:...)`."""

_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_ADDRESSES = {"://": "&#58;//", "www.": "www&#46;", "@": "&#64;"}
"""Beginnings of addresses, of which GitHub makes links, with an entity that prevents it."""


def _line(text: str) -> str:
    """Escape text so that it is shown as it is: no Markdown, no HTML, no link, on one line and in one cell."""
    cleaned = " ".join(str(text).split())
    for sign, safe in _HTML.items():
        cleaned = cleaned.replace(sign, safe)
    cleaned = _LIST.sub(lambda number: f"{number[1]}\\{number[2]}", _MARKUP.sub(r"\\\g<0>", cleaned))
    for sign, safe in _ADDRESSES.items():
        cleaned = cleaned.replace(sign, safe)
    return cleaned


def _fenced(text: str, language: str) -> str:
    """A code block whose fence is longer than any run of backticks in the text."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"
