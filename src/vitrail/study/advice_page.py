"""Advice as text, and docs/advice.md, which is written from the same table of measurements."""

from collections.abc import Sequence

from .advice import Advice
from .candidates import CANDIDATES
from .measurements import KIND_WORDS, Measurement, measurements

_BASIS = {"measured": "measured", "planned": "counted or timed here", "program": "what the program can do"}


def advice_text(found: Advice) -> str:
    """Return advice as text for a terminal."""
    lines = [found.recommendation, "", *(f"  {command}" for command in found.commands), "", "Because:"]
    lines += [f"  - {reason.text} [{_BASIS[reason.basis]}]" for reason in found.reasons] or ["  - (nothing measured)"]
    lines += ["", "Not known:", *(f"  - {sentence}" for sentence in found.unknown)]
    return "\n".join(lines)


def advice_page(known: Sequence[Measurement] | None = None) -> str:
    """Return the text of docs/advice.md."""
    table = measurements() if known is None else known
    return "\n".join([_HEAD, *_chart(table), _MIDDLE, *_rows(table), _CANDIDATES, *_candidate_rows(), ""])


_HEAD = """# Advice

```
vitrail advise flowers/ --latency 10ms --pretrained no --needs robustness,fine-detail
vitrail advise --images 3000 --classes 12 --latency 10ms
```

recommends a model and a way to train it. The number of training images, the classes and the size of the images are
those of a source, or of the options. The reasons are the measurements below (a table in the package,
`study/measurements.json`) and what `vitrail plan` counts or times on this machine; what neither covers is listed as not
known, with the command that finds out. This page is written from the same table
(`vitrail.study.advice_page.advice_page()`), and a test compares them.

## Decision chart

```"""

_MIDDLE = """```

A comparison decides if its number of images and the side of its images are within a factor of ten of yours; of several,
the nearest one. It names the most accurate kind, and a difference within the margin of its test images is reported as
not known. The largest candidate of the kind that suits the size of the images and the latency is suggested (of plain
ViTs and CNNs the smallest below 100,000 images, which is a choice and no measurement). Time is estimated from the FLOPs
and the speed of matrix products here, or measured with `--measure`; for a phone, or a GPU that this machine lacks, only
FLOPs are known.

## Measurements

| question | images | classes | side | minutes | results | seeds | tested on | machine, log | limits |
|---|---|---|---|---|---|---|---|---|---|"""

_CANDIDATES = """
## Candidates

| kind | variants |
|---|---|"""


def _chart(known: Sequence[Measurement]) -> list[str]:
    """The chart as a tree in text; every leaf is a measurement or names that there is none."""
    lines = ["weights for similar images at hand?", "├─ yes: fine-tune them, and train from scratch beside it"]
    tuned = [each for each in known if each.question == "pretrained"]
    lines += [f"│    measured: {_leaf(each)}" for each in tuned] or ["│    gain: not measured"]
    lines += ["└─ no: train from scratch; images within a factor of ten of"]
    scratch = sorted((each for each in known if each.question == "scratch" and each.compares), key=lambda e: e.images)
    for each in scratch:
        best = each.best
        lines.append(f"   ├─ {each.images:,} of {each.side} px → {best.kind}: {_leaf(each)}")
    lines += ["   └─ none of these → hybrid, the default of `vitrail train`: no comparison", "then"]
    for each in (each for each in known if each.question == "robustness"):
        lines.append(f"├─ needs robustness: {_leaf(each)}")
    lines += [
        "├─ needs fine detail: smaller patches, cost from `vitrail plan`; gain: not measured",
        "├─ needs global context: not measured",
        "├─ needs explanations: hybrid or ViT have attention maps, a CNN has gradients and occlusion only",
        "└─ latency: the largest candidate whose time, estimated or measured here, keeps it",
    ]
    return lines


def _leaf(each: Measurement) -> str:
    return ", ".join(f"{result.model} {100 * result.accuracy:.1f} %" for result in each.results)


def _rows(known: Sequence[Measurement]) -> list[str]:
    return [
        f"| {each.question}, {each.source} | {each.images:,} | {each.classes} | {each.side} | "
        f"{'–' if each.minutes is None else f'{each.minutes:g}'} | {_leaf(each)} | {each.seeds} | "
        f"{each.tested_on:,} | {each.machine}, {each.logged} | {each.note} |"
        for each in known
    ]


def _candidate_rows() -> list[str]:
    return [f"| {KIND_WORDS[kind]} | {', '.join(names)} |" for kind, names in CANDIDATES.items()]
