"""Robustness of one classifier, or of two on the same images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ..checkpoint.contract import Checkpoint
from ..data.conflict import Mask
from ..data.corrupt.corruptions import CORRUPTIONS
from ..data.corrupt.recipe import SEVERITIES
from ..data.masks import mask_files, missing_mask, read_mask
from ..data.open import BadFile, Sample, SourceLike, open_source, read_image
from ..data.preprocess import Preprocess
from ..data.seeds import derive
from ..errors import VitrailError, nearest
from ..evaluation.held_out import held_out, recorded_splits
from ..progress import Track, silent
from ..tasks.temperature import FEWEST_FITTED
from . import robustness_tests
from .options import HeldOutOptions
from .robustness_tests import Measurement, fitting_images
from .studied_model import StudiedModel, common_samples, drawn, matched, studied_model

Test = Literal["corruption", "adversarial", "sketch", "conflict", "shift", "calibration"]
TESTS: tuple[Test, ...] = get_args(Test)


@dataclass(frozen=True, kw_only=True, slots=True)
class RobustnessOptions(HeldOutOptions):
    """Settings of a robustness study.

    Attributes:
        tests: names of the tests; the clean accuracy is always measured.
        severities: severities of the corruptions, 1 to 5.
        epsilons: largest change of a value by an attack, in 1/255 of the range of values.
        steps: number of steps of PGD.
        masks: folder with a mask of the object of each image, for "conflict".

    Raises:
        VitrailError: an unknown test, or a value that its test does not take.
    """

    tests: tuple[Test, ...] = ("corruption", "adversarial", "sketch", "shift", "calibration")
    severities: tuple[int, ...] = (1, 3, 5)
    epsilons: tuple[float, ...] = (1.0, 4.0)
    steps: int = 10
    masks: Path | None = None

    def __post_init__(self) -> None:
        HeldOutOptions.__post_init__(self)
        for name in self.tests:
            if name not in TESTS:
                raise VitrailError(f"there is no test {name!r}: {nearest(name, TESTS)}")
        if "corruption" in self.tests and not _some_of(self.severities, SEVERITIES):
            raise VitrailError(f"severities {_listed(self.severities)}: name some of 1 to 5, each once")
        if "adversarial" in self.tests and not _some_of(self.epsilons):
            raise VitrailError(f"epsilons {_listed(self.epsilons)}: name some, each once, such as 1 4 (in 1/255)")
        for epsilon in self.epsilons:
            if not 0 <= epsilon <= 255:
                raise VitrailError(f"epsilon {epsilon:g} is not possible: it is in units of 1/255, from 0 to 255")
        if self.steps < 1:
            raise VitrailError(f"{self.steps} steps of PGD are not possible: use 1 or more")
        if "conflict" in self.tests and self.masks is None:
            raise VitrailError("the cue conflict needs masks of the objects: name a folder of them with --masks")


@dataclass(frozen=True, slots=True)
class RobustnessStudy:
    """The measurements of one or two models.

    Attributes:
        rows: [row][model], models in the order given; the measurements of one test are next to each other.
        notes: phrases that describe the images and how the numbers were computed.
        bad: files that were left out.
    """

    rows: tuple[tuple[Measurement, ...], ...]
    notes: tuple[str, ...]
    bad: tuple[BadFile, ...] = ()


def study_robustness(
    checkpoints: Sequence[Checkpoint],
    source: SourceLike,
    options: RobustnessOptions | None = None,
    *,
    progress: Track = silent,
) -> RobustnessStudy:
    """Accuracy of one or two classifiers on the same clean and changed images, which no model was trained on.

    For two models there is also the mean corruption error of each, relative to the second (Hendrycks and Dietterich,
    2019, section 4.1): the second has 1, and lower is better.

    Raises:
        VitrailError: a model or source that cannot be studied; see `RobustnessOptions`, `common_samples`, `read_mask`.
    """
    options = options or RobustnessOptions()
    found, which, bad = common_samples(checkpoints, source, options, progress=progress)
    objects = _objects(checkpoints, found, options.masks if "conflict" in options.tests else None)
    columns, notes = [], [which]
    for checkpoint, samples, masks in zip(checkpoints, found, objects, strict=True):
        studied = studied_model(checkpoint, samples, options, progress=progress)
        val = _val(checkpoint, source, options, progress) if "calibration" in options.tests else None
        columns.append(_rows(studied, val, masks, options, progress))
        notes.append(f"accuracy of predicting the most common class: {100 * studied.majority_accuracy:.1f} %")
        notes += _notes(checkpoint, studied, val, masks, options) + _about_values(studied)
    if "corruption" in options.tests and len(columns) > 1:
        columns = [_with_error(column, columns[-1]) for column in columns]
    return RobustnessStudy(tuple(zip(*columns, strict=True)), tuple(dict.fromkeys(notes)), bad)


def mean_corruption_error(rows: Sequence[Measurement], reference: Sequence[Measurement]) -> float | None:
    """Mean over corruptions of Σ error / Σ error of the reference, Σ over severities; None if that is 0."""
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


def _with_error(rows: list[Measurement], reference: list[Measurement]) -> list[Measurement]:
    place = next(place for place, row in enumerate(rows) if row.test == robustness_tests.MEAN_OF_CORRUPTIONS) + 1
    error = Measurement("mean corruption error", mean_corruption_error(rows, reference), unit="number")
    return [*rows[:place], error, *rows[place:]]


def _rows(
    studied: StudiedModel,
    val: StudiedModel | None,
    masks: list[Mask | None],
    options: RobustnessOptions,
    progress: Track,
) -> list[Measurement]:
    rows = robustness_tests.clean(studied)
    if "corruption" in options.tests:
        rows += robustness_tests.corruptions(studied, options.severities, options.seed, progress)
    if "adversarial" in options.tests:
        rows += robustness_tests.adversarial(studied, options.epsilons, options.steps, options.seed, progress)
    if "sketch" in options.tests:
        rows += robustness_tests.sketches(studied)
    if "conflict" in options.tests:
        rows += robustness_tests.conflicts(studied, masks, options.seed)
    if "shift" in options.tests:
        rows += robustness_tests.shifts(studied, options.seed)
    if "calibration" in options.tests:
        rows += robustness_tests.calibrations(studied, val, options.seed)
    return rows


def _notes(
    checkpoint: Checkpoint,
    studied: StudiedModel,
    val: StudiedModel | None,
    masks: list[Mask | None],
    options: RobustnessOptions,
) -> list[str]:
    notes = []
    if "corruption" in options.tests:
        notes.append(f"the accuracy under a corruption is the mean over severities {_listed(options.severities)}")
    hidden = sum(mask is None for mask in masks)
    if hidden:
        notes.append(f"cue conflict leaves out {hidden} images without a mask, or whose mask shows no object")
    if "calibration" in options.tests:
        notes.append(f"{checkpoint.path or 'the model'}: {_temperature_words(studied, val)}")
    return notes


def _temperature_words(studied: StudiedModel, val: StudiedModel | None) -> str:
    """Where the temperature of the calibration test comes from."""
    where, val_images = fitting_images(studied, val), len(val.images) if val else 0
    if where == "val":
        return f"the temperature is fitted on {val_images} validation images"
    if where == "halves":
        return "the temperature is fitted on one half of the images for the other"
    few = f"{val_images} validation images" if val_images else f"half of {len(studied.images)} images"
    return (
        f"no temperature is fitted, since {few} are fewer than {FEWEST_FITTED}: "
        "the values at temperature have the checkpoint's own"
    )


def _about_values(studied: StudiedModel) -> list[str]:
    if studied.is_unit:
        return []
    return [f"changed images have 256 levels from {studied.low:.4g} to {studied.high:.4g}, the range of all images"]


def _objects(
    checkpoints: Sequence[Checkpoint], found: Sequence[Sequence[Sample]], folder: Path | None
) -> list[list[Mask | None]]:
    """Masks for each checkpoint, cropped as its images; None for all checkpoints if one crop shows no object."""
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
    """True on the object; None if there is no mask, or no object in it."""
    if file is None:
        return None
    height, width = read_image(sample).shape[1:]
    mask = read_mask(sample, file, (height, width), preprocess).numpy()
    return mask if mask.any() else None


def _val(
    checkpoint: Checkpoint, source: SourceLike, options: RobustnessOptions, progress: Track
) -> StudiedModel | None:
    """The model with its validation images; None if they are not known, or may be among those under test."""
    opened = matched(open_source(source, strict=options.strict), checkpoint)
    recorded = recorded_splits(checkpoint.path) if checkpoint.path else None
    parts = {sample.split for sample in opened.samples} | set((recorded or {}).values())
    if options.split not in ("auto", "test") or not {"val", "test"} <= parts:
        return None
    try:
        channels = checkpoint.preprocess.channels
        own = held_out(opened, checkpoint.path, "val", skip_bad=options.skip_bad, channels=channels, progress=progress)
    except VitrailError:  # the run's val part is of another source
        return None
    samples = drawn(own.samples, options.limit, derive(options.seed, "val pictures"))
    return studied_model(checkpoint, samples, options, progress=progress)


def _some_of(given: Sequence[float], valid: Sequence[float] | None = None) -> bool:
    return bool(given) and len(set(given)) == len(given) and (valid is None or set(given) <= set(valid))


def _listed(given: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in given) or "(none)"
