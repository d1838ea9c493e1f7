"""From pictures to class names and probabilities."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from ..checkpoint.contract import Checkpoint, load
from ..data.open import BadFile, Sample, open_source
from ..errors import VitrailError
from ..progress import Track, silent
from ..task_spec import MULTI_LABEL
from .logits import Outcome, compute_logits

Spec = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of a picture.

    Attributes:
        path: the picture, as the user named it or relative to the folder that was named.
        classes: (class name, probability), the most probable first; empty where the picture could not be
            read.
        error: why it could not be read.
    """

    path: str
    classes: tuple[tuple[str, float], ...] = ()
    error: str | None = None


def predict(
    checkpoint: Checkpoint | Spec,
    sources: Spec | Sequence[Spec],
    *,
    top_k: int = 5,
    limit: int | None = None,
    batch_size: int = 32,
    device: str = "auto",
    precision: str = "auto",
    progress: Track = silent,
) -> Iterator[Prediction]:
    """Predict the classes of pictures: `list(predict("runs/flowers", "garden/"))`.

    Everything is checked and opened at the call; the pictures are read as the results are asked for, so a
    folder may be of any size. A picture that cannot be read gives a prediction with an error.

    Args:
        checkpoint: a checkpoint, or what `load` takes: a run, a folder, a file, a hub id.
        sources: pictures, folders of them at any depth, globs, tables, shards, or a named set.
        top_k: how many classes; all of them where there are fewer.
        limit: stop after this many pictures.
        batch_size, device, precision, progress: see `compute_logits`.

    Returns:
        An iterator over predictions, in the order of the sources. Probabilities are of the softmax over all
        classes, or, for a model that was trained with several labels a picture, each class's own sigmoid.

    Raises:
        VitrailError: no picture is found, or a word is unknown.
    """
    if top_k < 1:
        raise VitrailError(f"top_k {top_k} is not possible: use 1 or more")
    if limit is not None and limit < 1:
        raise VitrailError(f"limit {limit} is not possible: use 1 or more, or leave it out")
    samples, bad = _open_all([sources] if isinstance(sources, str | os.PathLike) else sources)
    found = checkpoint if isinstance(checkpoint, Checkpoint) else load(os.fspath(checkpoint))
    outcomes = compute_logits(
        found, samples[:limit], batch_size=batch_size, device=device, precision=precision, progress=progress
    )
    return _predictions(outcomes, bad, found, top_k)


def at_least_one(predictions: Iterable[Prediction]) -> Iterator[Prediction]:
    """Pass predictions on; at the end, it is an error if none of the pictures could be read."""
    last = None
    worked = False
    for last in predictions:
        worked = worked or last.error is None
        yield last
    if last is not None and not worked:
        raise VitrailError(f"none of the pictures could be read; the last was {last.path}: {last.error}")


def class_names(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The names of the logits; their numbers where the checkpoint has no names."""
    count = checkpoint.model.config.num_outputs
    return checkpoint.class_names or tuple(str(index) for index in range(count))


def _predictions(
    outcomes: Iterable[Outcome], bad: Sequence[BadFile], checkpoint: Checkpoint, top_k: int
) -> Iterator[Prediction]:
    names = class_names(checkpoint)
    several = checkpoint.task == MULTI_LABEL
    for outcome in outcomes:
        if outcome.logits is None:
            yield Prediction(outcome.sample.name, error=outcome.error)
            continue
        chances = outcome.logits.sigmoid() if several else outcome.logits.softmax(dim=0)
        values, indices = torch.topk(chances, min(top_k, len(names)))
        pairs = zip(indices.tolist(), values.tolist(), strict=True)
        yield Prediction(outcome.sample.name, tuple((names[index], value) for index, value in pairs))
    yield from (Prediction(file.name, error=file.reason) for file in bad)


def _open_all(specs: Sequence[Spec]) -> tuple[list[Sample], list[BadFile]]:
    """A source that is not there becomes a row with an error; if nothing is there, that is the error."""
    samples: list[Sample] = []
    bad: list[BadFile] = []
    reasons: list[str] = []
    for spec in specs:
        try:
            source = open_source(os.fspath(spec), labelled=False)
        except VitrailError as error:
            bad.append(BadFile(os.fspath(spec), str(error)))
            reasons.append(str(error))
            continue
        samples += source.samples
        bad += source.bad
    if not samples:
        reasons += [f"{file.name}: {file.reason}" for file in bad if str(file.reason) not in reasons]
        raise VitrailError("; ".join(reasons[:5]) or "no picture was named: give files, folders or globs")
    return samples, bad
