"""How a classifier, or two of them, bear what is done to pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from ..checkpoint.contract import Checkpoint
from ..data.conflict import Mask
from ..data.corrupt.corruptions import CORRUPTIONS
from ..data.corrupt.recipe import SEVERITIES
from ..data.masks import mask_files, missing_mask, read_mask
from ..data.open import Sample, open_source, read_image
from ..data.preprocess import Preprocess
from ..data.seeds import derive
from ..errors import VitrailError, nearest
from ..evaluation.held_out import Part, held_out, recorded_splits
from ..progress import Track, silent
from . import trials
from .subject import Subject, check_amounts, common_samples, drawn, matched, subject
from .trials import Row

Test = Literal["corruption", "adversarial", "sketch", "conflict", "shift", "calibration"]
TESTS: tuple[Test, ...] = get_args(Test)


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured, and how.

    Attributes:
        tests: by name; the clean accuracy is always there.
        severities: of the corruptions, 1 to 5.
        epsilons: of the attacks, in 1/255 of the range of a picture's values.
        steps: of PGD.
        limit: at most so many pictures, drawn by seed; None for all.
        split: which part of the source, see `held_out`.
        masks: a folder with the object of each picture, for "conflict".
    """

    tests: tuple[Test, ...] = ("corruption", "adversarial", "sketch", "shift", "calibration")
    severities: tuple[int, ...] = (1, 3, 5)
    epsilons: tuple[float, ...] = (1.0, 4.0)
    steps: int = 10
    limit: int | None = 200
    split: Part = "auto"
    masks: Path | None = None
    batch_size: int = 32
    device: str | torch.device = "cpu"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.tests:
            if name not in TESTS:
                raise VitrailError(f"there is no test {name!r}: {nearest(name, TESTS)}")
        if "corruption" in self.tests and not _some_of(self.severities, SEVERITIES):
            raise VitrailError(f"severities {_said(self.severities)}: name some of 1 to 5, each once")
        if "adversarial" in self.tests and not _some_of(self.epsilons):
            raise VitrailError(f"epsilons {_said(self.epsilons)}: name some, each once, such as 1 4 (in 1/255)")
        for epsilon in self.epsilons:
            if not 0 <= epsilon <= 255:
                raise VitrailError(f"epsilon {epsilon:g} does not exist: it is counted in 1/255, from 0 to 255")
        if self.steps < 1:
            raise VitrailError(f"{self.steps} steps lead nowhere: use 1 or more")
        if "conflict" in self.tests and self.masks is None:
            raise VitrailError("cue conflict needs to know the objects: name a folder of masks with --masks")
        check_amounts(self.limit, self.batch_size)


@dataclass(frozen=True, slots=True)
class Study:
    """What was found.

    Attributes:
        rows: [row][model], in the order in which the models were given; the rows of one test are next to each other.
        notes: sentences on which pictures these are, and how the numbers came about.
    """

    rows: tuple[tuple[Row, ...], ...]
    notes: tuple[str, ...]


def study_robustness(
    checkpoints: Sequence[Checkpoint], source: str, options: Options | None = None, *, progress: Track = silent
) -> Study:
    """Put one or two classifiers to the test on the same pictures; none of them has learned from these.

    With two, there is the mean corruption error of each, relative to the second (Hendrycks and Dietterich, 2019,
    section 4.1): the second has 1, and less is better.

    Raises:
        VitrailError: what a model or the source does not allow; see `Options`, `common_samples`, `read_mask`.
    """
    options = options or Options()
    found, which = common_samples(
        checkpoints, source, split=options.split, limit=options.limit, seed=options.seed, progress=progress
    )
    objects = _objects(checkpoints, found, options.masks if "conflict" in options.tests else None)
    columns, notes = [], [which]
    for checkpoint, samples, masks in zip(checkpoints, found, objects, strict=True):
        studied = _subject(checkpoint, samples, options, progress)
        val = _val(checkpoint, source, options, progress) if "calibration" in options.tests else None
        columns.append(_rows(studied, val, masks, options, progress))
        notes.append(f"always naming the most common class is right in {100 * studied.by_habit:.1f} %")
        notes += _notes(checkpoint, val, masks, options)
    if "corruption" in options.tests and len(columns) > 1:
        columns = [_with_error(column, columns[-1]) for column in columns]
    return Study(tuple(zip(*columns, strict=True)), tuple(dict.fromkeys(notes)))


def mean_corruption_error(rows: Sequence[Row], reference: Sequence[Row]) -> float | None:
    """Mean over corruptions of Σ error / Σ error of the reference, over severities; None where that never errs."""
    ratios = []
    for name in CORRUPTIONS:
        own, other = (
            sum(1 - (row.value or 0.0) for row in column if row.test == name and row.severity is not None)
            for column in (rows, reference)
        )
        if not other:
            return None
        ratios.append(own / other)
    return sum(ratios) / len(ratios)


def _with_error(rows: list[Row], reference: list[Row]) -> list[Row]:
    place = next(place for place, row in enumerate(rows) if row.test == trials.MEAN_OF_CORRUPTIONS) + 1
    error = Row("mean corruption error", mean_corruption_error(rows, reference), unit="number")
    return [*rows[:place], error, *rows[place:]]


def _rows(
    studied: Subject, val: Subject | None, masks: list[Mask | None], options: Options, progress: Track
) -> list[Row]:
    rows = trials.clean(studied)
    if "corruption" in options.tests:
        rows += trials.corruptions(studied, options.severities, options.seed, progress)
    if "adversarial" in options.tests:
        rows += trials.adversarial(studied, options.epsilons, options.steps, options.seed, progress)
    if "sketch" in options.tests:
        rows += trials.sketches(studied)
    if "conflict" in options.tests:
        rows += trials.conflicts(studied, masks, options.seed)
    if "shift" in options.tests:
        rows += trials.shifts(studied, options.seed)
    if "calibration" in options.tests:
        rows += trials.calibrations(studied, val, options.seed)
    return rows


def _notes(checkpoint: Checkpoint, val: Subject | None, masks: list[Mask | None], options: Options) -> list[str]:
    notes = []
    if "corruption" in options.tests:
        notes.append(f"a corruption is the mean over its severities {_said(options.severities)}")
    hidden = sum(mask is None for mask in masks)
    if hidden:
        notes.append(f"cue conflict leaves out {hidden} pictures that have no mask, or one that shows no object")
    if "calibration" in options.tests:
        where = f"{len(val.images)} val pictures" if val else "one half of the pictures for the other"
        notes.append(f"{checkpoint.path or 'the model'}: the temperature is fitted on {where}")
    return notes


def _subject(checkpoint: Checkpoint, samples: Sequence[Sample], options: Options, progress: Track) -> Subject:
    return subject(checkpoint, samples, batch_size=options.batch_size, device=options.device, progress=progress)


def _objects(
    checkpoints: Sequence[Checkpoint], found: Sequence[Sequence[Sample]], folder: Path | None
) -> list[list[Mask | None]]:
    """For each checkpoint its pictures' masks, as it crops them; None, for all, where one of them sees no object."""
    if folder is None:
        return [[] for _ in checkpoints]
    files = mask_files(folder, found[0])
    if not files:
        raise missing_mask(found[0][0])
    masks = [
        [_mask(sample, files.get(sample.name), checkpoint.preprocess) for sample in samples]
        for checkpoint, samples in zip(checkpoints, found, strict=True)
    ]
    seen = [all(mask is not None for mask in across) for across in zip(*masks, strict=True)]
    if not any(seen):
        raise VitrailError(f"no mask of {folder} shows an object: they are white where the object is, on black")
    return [[mask if kept else None for mask, kept in zip(own, seen, strict=True)] for own in masks]


def _mask(sample: Sample, file: Path | None, preprocess: Preprocess) -> Mask | None:
    """Where the object is; None where there is no mask, or nothing to be seen in it."""
    if file is None:
        return None
    height, width = read_image(sample).shape[1:]
    mask = read_mask(sample, file, (height, width), preprocess).numpy()
    return mask if mask.any() else None


def _val(checkpoint: Checkpoint, source: str, options: Options, progress: Track) -> Subject | None:
    """The pictures that the run chose its checkpoint by; None where they are not known, or may be those under test."""
    opened = matched(open_source(source), checkpoint)
    recorded = recorded_splits(checkpoint.path) if checkpoint.path else None
    parts = {sample.split for sample in opened.samples} | set((recorded or {}).values())
    if options.split not in ("auto", "test") or not {"val", "test"} <= parts:
        return None
    try:
        own = held_out(opened, checkpoint.path, "val", progress=progress)
    except VitrailError:  # the run's val part is of another source
        return None
    samples = drawn(own.samples, options.limit, derive(options.seed, "val pictures"))
    return _subject(checkpoint, samples, options, progress)


def _some_of(given: Sequence[float], valid: Sequence[float] | None = None) -> bool:
    return bool(given) and len(set(given)) == len(given) and (valid is None or set(given) <= set(valid))


def _said(given: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in given) or "(none)"
