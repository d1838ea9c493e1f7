"""How good a checkpoint is on labelled pictures."""

import os
from dataclasses import replace
from typing import Literal

import torch

from ..checkpoint.contract import Checkpoint, load
from ..data.open import Source, open_source
from ..errors import VitrailError
from ..progress import Track, silent
from ..task_spec import CLASSIFICATION, MULTI_LABEL
from .held_out import Part, held_out
from .logits import compute_logits
from .metrics import Evaluation, score

_NAMED = 10


def evaluate(
    checkpoint: Checkpoint | str | os.PathLike[str],
    source: Source | str | os.PathLike[str],
    *,
    split: Part = "auto",
    batch_size: int = 32,
    device: str = "auto",
    precision: str = "auto",
    skip_bad: bool = False,
    progress: Track = silent,
) -> Evaluation:
    """Score a checkpoint on labelled pictures: `evaluate("runs/flowers", "flowers/").top1`.

    Classes are matched by name. The source may lack some of the checkpoint's; one that the checkpoint does
    not know is an error.

    Args:
        checkpoint: a checkpoint, or what `load` takes: a run, a folder, a file, a hub id.
        source: a source, or what `open_source` takes.
        split: which part of it, see `held_out`; the result's `note` says what was scored.
        skip_bad: leave out files that cannot be read, instead of stopping at them.
        batch_size, device, precision, progress: see `compute_logits`.

    Raises:
        VitrailError: unknown classes, bad files, a part that is not there, or nothing to score.
    """
    found = checkpoint if isinstance(checkpoint, Checkpoint) else load(os.fspath(checkpoint))
    opened = source if isinstance(source, Source) else open_source(os.fspath(source))
    task: Literal["single", "multi"] = "multi" if found.task == MULTI_LABEL else "single"
    opened = match_classes(opened, found.class_names, task)
    chosen = held_out(opened, found.path, split, skip_bad=skip_bad, progress=progress)
    outcomes = list(
        compute_logits(
            found,
            chosen.samples,
            batch_size=batch_size,
            device=device,
            precision=precision,
            progress=progress,
        )
    )
    good = [(outcome.logits, outcome.sample.labels) for outcome in outcomes if outcome.logits is not None]
    if len(good) < len(outcomes):
        # The survey has read them all, so these do not suit this model, or have changed meanwhile.
        _refuse([f"{each.sample.name}: {each.error}" for each in outcomes if each.error], skip_bad)
    if not good:
        raise VitrailError(f"{opened.name} has no picture to score")
    logits, labels = zip(*good, strict=True)
    return replace(score(torch.stack(logits), labels, found.class_names, task), note=chosen.note)


def match_classes(source: Source, class_names: tuple[str, ...], task: Literal["single", "multi"]) -> Source:
    """The source with its labels counted in the checkpoint's order of classes.

    Raises:
        VitrailError: the checkpoint has no class names or lacks some of the source's, or it tells one class a
            picture and the source gives several.
    """
    if not class_names:
        raise VitrailError("the checkpoint has no class names to match labels with: save it with class_names")
    if source.task == MULTI_LABEL and task == "single":
        raise VitrailError(f"{source.name} has several labels a picture, the model tells only one: train another")
    place = {name: index for index, name in enumerate(class_names)}
    unknown = [name for name in source.class_names if name not in place]
    if unknown:
        raise VitrailError(
            f"the checkpoint does not know {len(unknown)} classes of {source.name}: {_some(unknown)}; it "
            f"knows {_some(class_names)}. Rename them, or leave them out"
        )
    order = [place[name] for name in source.class_names]
    samples = (replace(s, labels=tuple(order[label] for label in s.labels)) for s in source.samples)
    return replace(
        source, class_names=class_names, samples=tuple(samples), task=MULTI_LABEL if task == "multi" else CLASSIFICATION
    )


def _refuse(reasons: list[str], skip_bad: bool) -> None:
    if not skip_bad:
        raise VitrailError(
            f"{len(reasons)} pictures cannot be used: {'; '.join(reasons[:_NAMED])}; mend them, or --skip-bad"
        )


def _some(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
