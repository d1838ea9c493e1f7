"""Predictions for images: classes with probabilities, numbers or vectors, depending on the checkpoint's task."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from numpy import ndarray
from PIL import Image
from torch import Tensor

from ..checkpoint.contract import Checkpoint, CheckpointLike, as_checkpoint, path_of
from ..data.bad_files import none_readable
from ..data.in_memory import ImageLike
from ..data.open import BadFile, Sample, SourceLike, is_source, open_source, source_name
from ..data.split_choice import SplitChoice, choose_split
from ..engines.predictor import Predictor, Running, check_top_k, make_predictor
from ..engines.zero_shot import zero_shot_predictor
from ..errors import VitrailError
from ..nn import DualEncoder
from ..progress import Track, silent
from ..task_spec import VIDEO
from ..tasks.outcomes import Cells, Prediction
from ..tasks.worth import images
from .stream import Outcomes, stream
from .true_labels import true_labels

Spec = str | os.PathLike[str]

_MOST_REASONS = 5
"""Most reasons in one line of a message."""


def predict(
    checkpoint: CheckpointLike,
    sources: SourceLike | ImageLike | Sequence[SourceLike] | Sequence[ImageLike],
    *,
    top_k: int = 5,
    split: SplitChoice = "all",
    limit: int | None = None,
    strict: bool = True,
    batch_size: int = 32,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    tta: str = "none",
    classes: Sequence[str] = (),
    templates: Sequence[str] = (),
    threshold: float | None = None,
    progress: Track = silent,
) -> Iterator[Prediction]:
    """Predict the images of sources: `list(predict("runs/flowers", "garden/"))`.

    Arguments are checked at the call; images are read while iterating, so a folder may have any size. An image that
    cannot be read gives a prediction with an error.

    Args:
        checkpoint: a checkpoint, or what `load` takes: a run, a folder, a file, a hub id.
        sources: images, folders of them at any depth, globs, tables, shards, a named set, a `Source` or a torch
            Dataset; or images in memory: Pillow images, arrays (H, W) or (H, W, C), tensors (C, H, W). Those have an
            empty path.
        top_k: number of classes of each prediction; all of them if there are fewer.
        split: part of each source, see `choose_split`.
        limit: largest number of images.
        strict: False also predicts damaged files that can still be decoded, such as JPEGs of which a part is grey.
        batch_size, engine, device, precision, tta: see `make_predictor`.
        classes, templates: texts to choose from, for a model of images and texts, see `zero_shot_predictor`.
        threshold: probability from which objects, or one of many labels, are part of a prediction; None: what the
            checkpoint has.
        progress: reports how many images are done.

    Returns:
        iterator over predictions, in the order of the sources: `ClassPrediction`, `ValuePrediction`,
        `VectorPrediction`, or the type of another task.

    Raises:
        VitrailError: no image is found, a name is unknown, or a number is out of range.
    """
    check_top_k(top_k)
    check_limit(limit)
    specs, images = _specs_or_images(sources)
    found = as_checkpoint(checkpoint)
    clips, run = found.preprocess.frames is not None, path_of(checkpoint)
    named = None if images else named_images(specs, limit, split=split, run=run, strict=strict, clips=clips)
    how: Running = {"batch_size": batch_size, "engine": engine, "device": device, "precision": precision, "tta": tta}
    predictor = predictor_for(found, classes, templates, threshold, **how)
    if named is None:
        return iter(predictor(images[:limit], top_k=top_k))
    return predict_samples(predictor, with_labels(named, specs, predictor), top_k=top_k, progress=progress)


def predictor_for(
    checkpoint: Checkpoint,
    classes: Sequence[str],
    templates: Sequence[str],
    threshold: float | None = None,
    **how: Unpack[Running],
) -> Predictor:
    """The predictor of a checkpoint: of its own outputs, or of classes that the user names.

    Args:
        checkpoint: the checkpoint.
        classes, templates: see `zero_shot_predictor`; without classes the outputs are the checkpoint's own.
        threshold: see `predict`.
        how: batch_size, engine, device, precision and tta, see `make_predictor`.

    Raises:
        VitrailError: the checkpoint needs classes, or has its own; templates without classes; or a threshold for
            predictions that have none.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise VitrailError(f"threshold {threshold} is not possible: it is a probability, from 0 to 1")
    predictor = _of_classes_or_own(checkpoint, classes, templates, how)
    if threshold is None:
        return predictor
    return predictor.with_task(predictor.task.shown_from(threshold, predictor.names))


def _of_classes_or_own(
    checkpoint: Checkpoint, classes: Sequence[str], templates: Sequence[str], how: Running
) -> Predictor:
    if classes:
        return zero_shot_predictor(checkpoint, classes, templates, **how)
    if templates:
        raise VitrailError("templates are for classes: name the classes too")
    if isinstance(checkpoint.model, DualEncoder):
        raise VitrailError(
            'this checkpoint compares images with texts: name the classes to choose from, --classes "a cat;a dog", or '
            "use `vitrail embed` for the vectors of the images"
        )
    return make_predictor(checkpoint, **how)


def check_limit(limit: int | None) -> None:
    """Raise VitrailError for a number of images below 1."""
    if limit is not None and limit < 1:
        raise VitrailError(f"limit {limit} is not possible: use 1 or more, or leave it out for all images")


def _specs_or_images(
    sources: SourceLike | ImageLike | Sequence[SourceLike] | Sequence[ImageLike],
) -> tuple[list[SourceLike], list[ImageLike]]:
    """Separate sources and images in memory; one of both lists is empty."""
    single = is_source(sources) or isinstance(sources, Tensor | ndarray | Image.Image)
    given: list[Any] = [sources] if single else list(sources)  # type: ignore[arg-type]
    specs: list[SourceLike] = [each for each in given if is_source(each)]
    images: list[ImageLike] = [each for each in given if not is_source(each)]
    if specs and images:
        raise VitrailError("sources has both sources and images in memory: predict them in two calls")
    return specs, images


@dataclass(frozen=True, slots=True)
class NamedImages:
    """Images that a user named, not read yet, and files that cannot be used.

    Attributes:
        samples: the images, without labels.
        bad: files that cannot be used.
        labels: cells of the true label of each sample, see `true_labels`; empty if no label is known.
    """

    samples: tuple[Sample, ...]
    bad: tuple[BadFile, ...]
    labels: tuple[Cells, ...] = ()

    @property
    def entries(self) -> list[Sample | BadFile]:
        """Samples, then bad files, in the order of tables."""
        return [*self.samples, *self.bad]


def named_images(
    sources: SourceLike | Sequence[SourceLike],
    limit: int | None = None,
    *,
    split: SplitChoice = "all",
    run: Path | None = None,
    strict: bool = True,
    clips: bool = False,
) -> NamedImages:
    """Find the images of sources, in order; a source that does not exist becomes a bad file.

    Args:
        sources: a source, whose labels are ignored, see `open_source`; or several.
        limit: largest number of images.
        split: part of each source.
        run: path of the checkpoint, see `choose_split`.
        strict: see `open_source`.
        clips: find clips instead of images.

    Raises:
        VitrailError: no image is found, or a limit below 1.
    """
    check_limit(limit)
    prefer = VIDEO if clips else None
    samples: list[Sample] = []
    bad: list[BadFile] = []
    reasons: list[str] = []
    for spec in [sources] if is_source(sources) else sources:
        try:
            source = choose_split(open_source(spec, labelled=False, prefer=prefer, strict=strict), split, run)
        except VitrailError as error:
            bad.append(BadFile(source_name(spec), str(error)))
            reasons.append(str(error))
            continue
        samples += source.samples
        bad += source.bad
    if not samples:
        reasons += [f"{file.name}: {file.reason}" for file in bad if str(file.reason) not in reasons]
        if len(reasons) > _MOST_REASONS:
            raise none_readable(bad)
        raise VitrailError("; ".join(reasons) or "no image was named: give files, folders or globs")
    return NamedImages(tuple(samples[:limit]), tuple(bad))


def predict_samples(
    predictor: Predictor, named: NamedImages, *, top_k: int | None = None, progress: Track = silent
) -> Iterator[Prediction]:
    """Yield a prediction for each image, in order, then one with an error for each bad file.

    Args:
        predictor: runs the model.
        named: the images.
        top_k: number of classes of each prediction; all by default.
        progress: reports how many images are done.
    """
    labels = iter(named.labels or [()] * len(named.samples))
    for part in stream(predictor, named.samples, progress=progress):
        for prediction in part_predictions(predictor, part, top_k):
            yield replace(prediction, label=next(labels))
    yield from (predictor.task.failed(file.name, file.reason) for file in named.bad)


def part_predictions(predictor: Predictor, part: Outcomes, top_k: int | None) -> Iterator[Prediction]:
    """Yield a prediction for each sample of a part, those that could not be read included."""
    task = predictor.task
    decoded = iter(() if part.output is None else task.decode(part.output, predictor.names, top_k))
    sizes = iter(part.sizes)
    for sample, error in zip(part.samples, part.errors, strict=True):
        if error is not None:
            yield task.failed(sample.name, error)
        else:
            yield replace(next(decoded), path=sample.name, size=next(sizes))


def with_labels(named: NamedImages, sources: SourceLike | Sequence[SourceLike], predictor: Predictor) -> NamedImages:
    """Return the images with their true labels, if the sources they were found in have labels of the model."""
    specs = [sources] if is_source(sources) else sources
    return replace(named, labels=tuple(true_labels(specs, named.samples, predictor.task, predictor.names)))


class Counted:
    """Iterable over predictions that counts them.

    Args:
        predictions: the predictions.
    """

    def __init__(self, predictions: Iterable[Prediction]) -> None:
        self.predictions = predictions
        self.count = 0
        self.unreadable = 0

    def __iter__(self) -> Iterator[Prediction]:
        for prediction in self.predictions:
            self.count += 1
            self.unreadable += prediction.error is not None
            yield prediction

    @property
    def summary(self) -> str:
        """How many images were predicted, and how many files could not be read."""
        failed = self.unreadable
        files = f"{failed:,} file{'s' * (failed != 1)} could not be read, see the column error" if failed else ""
        return f"predicted {images(self.count - failed)}{f'; {files}' if failed else ''}"


def at_least_one(predictions: Iterable[Prediction]) -> Iterator[Prediction]:
    """Yield the same predictions, and raise BadFiles at the end if no image could be read."""
    bad: list[BadFile] = []
    worked = False
    for prediction in predictions:
        worked = worked or prediction.error is None
        if not worked:
            bad.append(BadFile(prediction.path, prediction.error or ""))
        yield prediction
    if bad and not worked:
        raise none_readable(bad)
