"""Evaluation of a checkpoint on labelled images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

from ..checkpoint.contract import CheckpointLike, as_checkpoint
from ..data.bad_files import BadFiles, bad_file_count
from ..data.open import BadFile, Source, SourceLike, open_source
from ..engines.predictor import Predictor, Running, make_predictor
from ..engines.zero_shot import zero_shot_predictor
from ..errors import VitrailError
from ..progress import Track, silent
from ..task_spec import CLASSIFICATION
from ..tasks.outcomes import Evaluation, Prediction
from .held_out import HeldOut, SplitChoice, held_out
from .predict import part_predictions
from .stream import stream

_CLASSES = 5
"""Classes of a prediction that `each` receives."""


@dataclass(frozen=True, slots=True, eq=False)
class Examination:
    """A model and labelled images, ready to be scored.

    Attributes:
        predictor: runs the model.
        source: images whose labels are matched with the predictor's names.
        run: path of the checkpoint's run, see `held_out`.
    """

    predictor: Predictor
    source: Source
    run: Path | None

    def score(
        self,
        split: SplitChoice = "auto",
        *,
        skip_bad: bool = False,
        each: Callable[[Prediction], None] | None = None,
        progress: Track = silent,
    ) -> Evaluation:
        """Compare outputs with labels, see `evaluate`."""
        chosen = held_out(self.source, self.run, split, skip_bad=skip_bad, progress=progress)
        if self.predictor.tta != "none":
            chosen = replace(chosen, note=f"{chosen.note}, with test-time augmentation {self.predictor.tta}")
        return score_held_out(self.predictor, chosen, skip_bad=skip_bad, each=each, progress=progress)


def evaluate(
    checkpoint: CheckpointLike,
    source: SourceLike,
    *,
    split: SplitChoice = "auto",
    batch_size: int = 32,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    tta: str = "none",
    zero_shot: bool = False,
    templates: Sequence[str] = (),
    skip_bad: bool = False,
    strict: bool = True,
    each: Callable[[Prediction], None] | None = None,
    progress: Track = silent,
) -> Evaluation:
    """Evaluate a checkpoint on labelled images: `evaluate("runs/flowers", "flowers/").quality`.

    Labels are matched by the names of classes or columns. The source may lack some classes of the checkpoint; a class
    that the checkpoint does not have is an error.

    Args:
        checkpoint: a checkpoint, or what `load` takes: a run, a folder, a file, a hub id.
        source: what `open_source` takes: a path, a name, a `Source`, a torch Dataset.
        split: part of the source, see `held_out`; the result's `note` describes the images.
        batch_size, engine, device, precision, tta: see `make_predictor`.
        zero_shot: a model of images and texts chooses among the source's class names.
        templates: for `zero_shot`, see `zero_shot_predictor`.
        skip_bad: leave out files that cannot be read, instead of raising an error; the result's `bad` lists them.
        strict: False also takes damaged files that can still be decoded, such as JPEGs of which a part is grey.
        each: receives the prediction for each image with its true label, also for images that are left out.
        progress: reports how many images are done.

    Raises:
        VitrailError: unknown classes, unreadable files, a missing part, no images, or a task without labels.
    """
    how: Running = {"batch_size": batch_size, "engine": engine, "device": device, "precision": precision, "tta": tta}
    found = examination(checkpoint, source, zero_shot=zero_shot, templates=templates, strict=strict, **how)
    return found.score(split, skip_bad=skip_bad, each=each, progress=progress)


def examination(
    checkpoint: CheckpointLike,
    source: SourceLike,
    *,
    zero_shot: bool = False,
    templates: Sequence[str] = (),
    strict: bool = True,
    **how: Unpack[Running],
) -> Examination:
    """Open a checkpoint and a source, and match their names, see `evaluate`."""
    found = as_checkpoint(checkpoint)
    if not zero_shot:
        if templates:
            raise VitrailError("templates are for zero-shot evaluation: add --zero-shot, or leave them out")
        predictor = make_predictor(found, **how)
        opened = open_source(source, prefer=predictor.task.spec, strict=strict)
        return Examination(predictor, predictor.task.match(opened, found.class_names), found.path)
    opened = open_source(source, prefer=CLASSIFICATION, strict=strict)
    if opened.task.name != CLASSIFICATION.name:
        raise VitrailError(f"{opened.name} is labelled for {opened.task.name}: zero-shot evaluation needs classes")
    predictor = zero_shot_predictor(found, opened.class_names, templates, **how)
    return Examination(predictor, predictor.task.match(opened, predictor.names), found.path)


def score_held_out(
    predictor: Predictor,
    chosen: HeldOut,
    *,
    skip_bad: bool = False,
    each: Callable[[Prediction], None] | None = None,
    progress: Track = silent,
) -> Evaluation:
    """Compare the predictor's outputs for the chosen samples with their labels.

    Args:
        predictor: runs the model; the labels were matched with its names.
        chosen: samples with labels in the order of the predictor's names.
        skip_bad: leave out samples that cannot be read.
        each: see `evaluate`.
        progress: reports how many images are done.

    Raises:
        VitrailError: nothing to score, or unreadable files.
    """
    metrics = predictor.task.metrics(predictor.names)
    bad: list[BadFile] = []
    scored = 0
    for part in stream(predictor, chosen.samples, progress=progress):
        pairs = zip(part.samples, part.errors, strict=True)
        bad += [BadFile(sample.name, error) for sample, error in pairs if error is not None]
        if each is not None:
            for sample, prediction in zip(part.samples, part_predictions(predictor, part, _CLASSES), strict=True):
                each(replace(prediction, label=predictor.task.true_cells(sample, predictor.names)))
        if part.output is not None:
            metrics.update(part.output, predictor.task.targets(part.readable, predictor.names))
            scored += len(part.readable)
    if each is not None:
        for file in chosen.bad:
            each(predictor.task.failed(file.name, file.reason))
    if bad and not skip_bad:
        # The survey read all of them, so these do not fit this model, or have changed since.
        headline = f"{bad_file_count(len(bad))} among {chosen.note}"
        raise BadFiles(headline, bad, "mend or remove them, or add --skip-bad to go on without them", chosen.source)
    if not scored:
        raise VitrailError(f"there is no image to score among {chosen.note}: give a source with labels")
    bad += chosen.bad
    more = f"; {bad_file_count(len(bad))} left out" if bad else ""
    return replace(metrics.compute(), note=chosen.note + more, bad=tuple(bad))
