"""The model card: the README.md of a run folder, in the form that model hubs read."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from ..evaluation.metrics import Evaluation
from .report import Report, headline

MOST_CLASSES = 50
"""The card lists no more class names than this."""


def write_card(
    path: Path,
    report: Report,
    *,
    model: str,
    dataset: str,
    origin: str = "",
    license: str = "unknown",
) -> None:
    """Write README.md.

    Args:
        report: what the run's page shows.
        model: the variant's name.
        dataset: the source that the run was trained on, as the user named it.
        origin: where the initial weights came from; empty for a model trained from the start.
        license: of the weights; nobody but their owner can know it.
    """
    parts = [
        _front_matter(model, dataset, report.evaluation, license),
        f"# {_line(report.title)}\n\n{_what(model, dataset, origin, report.evaluation)}",
        f"## Results\n\n{_table(('measure', 'value'), headline(report.evaluation))}\n\n"
        "Per class, with the confusion matrix, the calibration and the worst mistakes: `report.html`.",
        f"## Data\n\n{_data(report, dataset)}",
        f"## How to use it\n\n{_USE}",
        f"## Limits\n\n{_LIMITS}",
        f"## Recipe\n\nThe run can be repeated from it: `vitrail train SOURCE --recipe recipe.yaml`.\n\n"
        f"```yaml\n{report.recipe_yaml.strip()}\n```",
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

_LIMITS = """\
The numbers hold for pictures like those it was measured on. A picture of none of the classes still gets one
of them,
and a probability is not a guarantee: look at the calibration in the report before relying on it. Nobody has
    examined
this model for bias between groups of people, places or cameras."""


def _front_matter(model: str, dataset: str, evaluation: Evaluation, license: str) -> str:
    measures = {
        "accuracy": evaluation.top1,
        "map": evaluation.mean_average_precision,
        "f1": evaluation.macro_f1,
    }
    task = "image-classification"
    result = {
        "task": {"type": task},
        "dataset": {"name": dataset, "type": dataset},
        "metrics": [{"type": kind, "value": round(value, 4)} for kind, value in measures.items() if value is not None],
    }
    values = {
        "license": license,
        "library_name": "vitrail",
        "pipeline_tag": task,
        "tags": [task, "vision-transformer", "vitrail"],
        "model-index": [{"name": model, "results": [result]}],
    }
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---"


def _what(model: str, dataset: str, origin: str, evaluation: Evaluation) -> str:
    names = [_line(row.name) for row in evaluation.per_class]
    listed = ", ".join(names[:MOST_CLASSES]) + (" …" if len(names) > MOST_CLASSES else "")
    start = f"fine-tuned from {_line(origin)}" if origin else "trained from random weights"
    several = "any number of" if evaluation.task == "multi" else "one of"
    return (
        f"A Vision Transformer, `{model}`, {start} on {_line(dataset)} with vitrail. "
        f"It gives a picture {several} {len(names)} classes: {listed}."
    )


def _data(report: Report, dataset: str) -> str:
    rows = [("source", dataset), *report.summary.items()]
    if report.bad_count:
        rows.append(("files left out", f"{report.bad_count:,}, see bad_files.csv"))
    return _table(("", ""), rows) + "\n\nWhich picture went into which part: `splits.csv`."


def _table(head: tuple[str, str], rows: Sequence[tuple[str, str]]) -> str:
    lines = [f"| {_line(name)} | {_line(value)} |" for name, value in rows]
    return "\n".join([f"| {head[0]} | {head[1]} |", "|---|---|", *lines])


def _line(text: str) -> str:
    """Text that cannot end the line, the cell or become HTML."""
    cleaned = " ".join(str(text).split())
    for sign, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|")):
        cleaned = cleaned.replace(sign, safe)
    return cleaned
