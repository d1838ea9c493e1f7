"""Study of labels: probably wrong ones, near-duplicates, and classes that are confused."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ..checkpoint.contract import Checkpoint
from ..checkpoint.origin import public_name
from ..data.open import BadFile, Sample, Source, SourceLike
from ..data.split_choice import recorded_splits, used_labels
from ..errors import VitrailError
from ..evaluation.embed import embed
from ..progress import Track, silent
from ..tasks.classification import Classification
from ..training.training_data import Reading, TrainingData, read_data
from .confident import ClassPair
from .near_duplicates import SIMILAR, SIMILAR_PLAIN, NearPair, duplicate_groups, near_duplicates
from .options import StudyOptions
from .out_of_fold import folds_of, logistic_out_of_fold, out_of_fold
from .patch_features import fit_dictionary, patch_features
from .small_images import small_images
from .suspects import Suspect, judge, judge_many

_FEWEST = 20
_WORDS, _MANY = 400, 20_000
_TINY, _SMALL = 20, 44
"""Sides in pixels, see `LabelOptions.similar`."""
_TRUSTED = 0.9
"""Out-of-fold agreement above which the number of contradicted labels is near that of the wrong ones."""


@dataclass(frozen=True, slots=True)
class LabelStudy:
    """Results of the study.

    Attributes:
        name: the source.
        class_names: names of the classes.
        samples: all images: train, then val, then test.
        splits: split of each image: the source's own, or the one that `vitrail train` makes.
        label_words: label of each image in words.
        probabilities: out-of-fold probability of each class.
        suspects: all labels, the most suspicious first; for several labels an image, the flagged ones and the given
            ones only.
        expected: estimated number of wrong labels.
        accuracy: out-of-fold agreement with the given labels (for several labels: over all images and classes).
        duplicates: pairs of near-duplicates, the most similar first.
        pairs: pairs of classes, the most confused first; empty for several labels an image.
        notes: what was done.
        bad: files that were left out.
    """

    name: str
    class_names: tuple[str, ...]
    samples: tuple[Sample, ...]
    splits: tuple[str, ...]
    label_words: tuple[str, ...]
    probabilities: Float[Tensor, "n K"]
    suspects: tuple[Suspect, ...]
    expected: float
    accuracy: float
    duplicates: tuple[NearPair, ...]
    pairs: tuple[ClassPair, ...]
    notes: tuple[str, ...]
    bad: tuple[BadFile, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelOptions(StudyOptions):
    """Options of the study.

    Attributes:
        folds: number of parts, each judged by a classifier that is fitted on the others.
        similar: least correlation of near-duplicates, see `near_duplicates`; None: 0.9, and 0.97 for grey images of up
            to 44 pixels and all of up to 20, which are alike without being copies.
        words: size of the patch dictionary, see `fit_dictionary`; None: 400, and 200 for more than 20,000 images.

    Raises:
        VitrailError: fewer than two folds, or a correlation that is none.
    """

    folds: int = 5
    similar: float | None = None
    words: int | None = None

    def __post_init__(self) -> None:
        StudyOptions.__post_init__(self)
        if self.folds < 2:
            raise VitrailError(f"folds {self.folds} is not possible: use 2 or more")
        if self.similar is not None and not 0 < self.similar <= 1:
            raise VitrailError(f"similar {self.similar:g} is not possible: a correlation is above 0 and up to 1")


def study_labels(
    source: SourceLike,
    checkpoint: Checkpoint | None = None,
    options: LabelOptions | None = None,
    *,
    progress: Track = silent,
) -> LabelStudy:
    """Find labels that are probably wrong.

    Every image is described by features of a checkpoint, or of a dictionary of the images' own patches. Linear
    classifiers on them (logistic regression, ridge) give out-of-fold probabilities, in which confident learning looks
    for labels that the images contradict. Near-duplicates are in the same fold, so that a wrong label does not confirm
    itself.

    Args:
        source: labelled images, what `open_source` takes; all splits are used.
        checkpoint: a model whose features are used; best one that was not trained on these labels.
        options: see `LabelOptions`.
        progress: reports the progress of the study.

    Raises:
        VitrailError: the labels are no classes, or there are too few images.
    """
    options = options or LabelOptions()
    data = read_data(source, Reading(skip_bad=options.skip_bad, strict=options.strict), progress=progress)
    task = _classification(data)
    samples, splits, digests = _parts(data)
    _check(data, samples, options.folds)
    images = small_images(data, samples, progress)
    pairs = near_duplicates(images, least=_least_similar(data, options), progress=progress)
    if checkpoint is None:
        features = _patch_features(images, options, progress)
    else:
        features = _checkpoint_features(checkpoint, data, samples, options, progress)
    groups, many = [digests[first] for first in duplicate_groups(len(samples), pairs)], task.labels == "many"
    folds = folds_of(groups, [sample.labels if many else sample.labels[0] for sample in samples], options.folds)
    targets = task.targets(samples, data.names)
    probabilities = features.out_of_fold(features.vectors, targets, folds, many=many, progress=progress)
    judged = judge_many(targets, probabilities, data.names) if many else judge(targets, probabilities, data.names)
    trained_on = _trained_on(checkpoint.path if checkpoint else None, digests)
    return LabelStudy(
        name=data.name,
        class_names=data.names,
        samples=tuple(samples),
        splits=tuple(splits),
        label_words=tuple(task.written(sample, data.names) for sample in samples),
        probabilities=probabilities,
        suspects=judged.suspects,
        expected=judged.expected,
        accuracy=judged.accuracy,
        duplicates=tuple(pairs),
        pairs=judged.pairs,
        notes=_notes(features, options.folds, judged.accuracy, trained_on),
        bad=tuple(data.survey.bad),
    )


def _classification(data: TrainingData) -> Classification:
    if not isinstance(data.task, Classification):
        kind = data.task.name if data.task else "no labels"
        raise VitrailError(f"{data.name} is labelled for {kind}: the study of labels needs classes")
    return data.task


def _parts(data: TrainingData) -> tuple[list[Sample], list[str], list[str]]:
    """Samples, splits and content hashes of all images."""
    parts = (("train", data.train), ("val", data.val), ("test", data.test))
    samples = [sample for _, part in parts for sample in part.samples]
    splits = [name for name, part in parts for _ in part.samples]
    return samples, splits, [facts.digest for _, part in parts for facts in part.facts]


def _least_similar(data: TrainingData, options: LabelOptions) -> float:
    if options.similar is not None:
        return options.similar
    plain = data.side <= _TINY or (data.channels == 1 and data.side <= _SMALL)
    return SIMILAR_PLAIN if plain else SIMILAR


def _check(data: TrainingData, samples: Sequence[Sample], folds: int) -> None:
    if len(samples) < _FEWEST:
        raise VitrailError(f"{data.name} has {len(samples)} images: the study of labels needs {_FEWEST} or more")
    if 2 * folds > len(samples):
        raise VitrailError(f"{data.name} has {len(samples)} images: use {len(samples) // 2} folds or fewer")


class _OutOfFold(Protocol):
    """A function such as `out_of_fold`."""

    def __call__(
        self,
        features: Float[Tensor, "n D"],
        targets: Float[Tensor, "n K"],
        folds: Int[Tensor, " n"],
        *,
        many: bool,
        progress: Track,
    ) -> Float[Tensor, "n K"]: ...


@dataclass(frozen=True, slots=True)
class _Features:
    """Features of the images, and the function that computes out-of-fold probabilities from them; both in words."""

    vectors: Float[Tensor, "n D"]
    out_of_fold: _OutOfFold
    note: str
    classifier: str


def _patch_features(images: UInt8[Tensor, "n C S S"], options: LabelOptions, progress: Track) -> _Features:
    words = options.words or (_WORDS if len(images) <= _MANY else _WORDS // 2)
    dictionary, side = fit_dictionary(images, words=words, seed=options.seed), images.shape[2]
    return _Features(
        patch_features(images, dictionary, progress=progress),
        out_of_fold,
        f"features: {words} clusters of the images' own patches, at {side} × {side} pixels (no --weights given)",
        "ridge classifier",
    )


def _checkpoint_features(
    checkpoint: Checkpoint, data: TrainingData, samples: Sequence[Sample], options: LabelOptions, progress: Track
) -> _Features:
    found = embed(
        checkpoint,
        Source(data.name, data.names, tuple(samples), task=data.survey.source.task),
        strict=options.strict,
        batch_size=options.batch_size,
        device=options.device,
        precision=options.precision,
        progress=progress,
    )
    if broken := [error for error in found.errors if error]:
        raise VitrailError(f"{len(broken)} images of {data.name} do not fit the checkpoint: {broken[0]}")
    name = public_name(str(checkpoint.path or checkpoint.info.get("architecture", "the model")))
    return _Features(
        found.vectors,
        partial(logistic_out_of_fold, seed=options.seed),
        f"features: {found.vectors.shape[1]} outputs before the head of {name}",
        "logistic regression",
    )


def _trained_on(checkpoint: Path | None, digests: Sequence[str]) -> int:
    """Number of the images that the checkpoint was trained on with labels."""
    recorded = recorded_splits(checkpoint) if checkpoint and used_labels(checkpoint) else None
    return sum((recorded or {}).get(digest) == "train" for digest in digests)


def _notes(features: _Features, folds: int, accuracy: float, trained_on: int) -> tuple[str, ...]:
    notes = [
        features.note,
        f"each image is judged by a {features.classifier} fitted on {folds - 1} of {folds} parts, which it and its "
        "near-duplicates are not in",
    ]
    if accuracy < _TRUSTED:
        notes.append(
            f"the classifiers agree with only {100 * accuracy:.0f} % of the labels: most labels that they contradict "
            "are right, so read the list from the top and do not trust the number of its entries; --weights with "
            "features of a good checkpoint sharpens it"
        )
    if trained_on:
        notes.append(
            f"the checkpoint was trained on {trained_on:,} of these images with these labels, so it may have learned "
            "wrong ones: their suspicion is too low; a checkpoint of other data, or none, is better"
        )
    return tuple(notes)
