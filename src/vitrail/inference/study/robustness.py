"""How a classifier, or two of them, bear what is done to pictures: one table."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from ...checkpoint.contract import Checkpoint
from ...data.corrupt.recipe import SEVERITIES
from ...data.corrupt.table import CORRUPTIONS
from ...data.masks import mask_files, missing_mask, read_mask
from ...data.seeds import derive, permutation
from ...data.sources import open_source, read_image
from ...errors import VitrailError, nearest
from ...progress import Track, silent
from ..evaluate import match_classes
from ..held_out import Part, held_out, recorded_splits
from . import trials
from .pictures import Subject, common_samples, subject
from .trials import Row

Test = Literal["corruption", "adversarial", "sketch", "calibration", "shift", "conflict"]
TESTS: tuple[Test, ...] = get_args(Test)


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured, and how.

    Attributes:
        tests: by name.
        severities: of the corruptions, 1 to 5.
        epsilons: of the attacks, in 1/255 of the range of a picture's values.
        steps: of PGD.
        limit: at most so many pictures, drawn by seed.
        split: which part of the source, see `held_out`.
        masks: a folder with the object of each picture, for "conflict".
    """

    tests: tuple[Test, ...] = ("corruption", "adversarial", "sketch", "calibration", "shift")
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
        if not self.severities or not set(self.severities) <= set(SEVERITIES):
            raise VitrailError(f"severities {self.severities} do not exist: name some of 1 to 5")
        if self.limit is not None and self.limit < 2:
            raise VitrailError(f"{self.limit} pictures cannot be studied: use 2 or more")
        if "conflict" in self.tests and self.masks is None:
            raise VitrailError("cue conflict needs to know the objects: name a folder of masks with --masks")


@dataclass(frozen=True, slots=True)
class Study:
    """What was found: for each row its values, one for each model in the order given.

    Attributes:
        rows: of the table; `value` is the first model's.
        values: [row][model].
        note: which pictures these are.
    """

    rows: tuple[Row, ...]
    values: tuple[tuple[float | None, ...], ...]
    note: str


def study_robustness(
    checkpoints: Sequence[Checkpoint], source: str, options: Options | None = None, *, progress: Track = silent
) -> Study:
    """Put one or two classifiers to the test on the same pictures; none of them has learned from these.

    With two, the last row is the mean corruption error of each, relative to the second (Hendrycks and Dietterich, 2019,
    section 4.1): the second has 1, and less is better.

    Raises:
        VitrailError: what a model or the source does not allow; see `Options`, `common_samples`, `subject`.
    """
    options = options or Options()
    found, note = common_samples(
        checkpoints, source, split=options.split, limit=options.limit, seed=options.seed, progress=progress
    )
    columns = []
    for checkpoint, samples in zip(checkpoints, found, strict=True):
        studied = subject(checkpoint, samples, batch_size=options.batch_size, device=options.device, progress=progress)
        columns.append(_rows(studied, checkpoint, source, options, progress))
    values = [tuple(row.value for row in across) for across in zip(*columns, strict=True)]
    rows = list(columns[0])
    if "corruption" in options.tests and len(columns) > 1:
        rows.append(Row("mean corruption error", mean_corruption_error(columns[0], columns[-1]), unit="number"))
        values.append(tuple(mean_corruption_error(column, columns[-1]) for column in columns))
    return Study(tuple(rows), tuple(values), note)


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


def write_csv(study: Study, names: Sequence[str], path: Path) -> None:
    """test, severity, and a column for each model; shares from 0 to 1. The file appears when it is complete."""
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["test", "severity", *names])
        for row, values in zip(study.rows, study.values, strict=True):
            cells = ["" if value is None else f"{value:.6g}" for value in values]
            writer.writerow([row.test, "" if row.severity is None else row.severity, *cells])
    part.replace(path)


def table(study: Study, names: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Headers and rows for `print_table`: what is of one severity is left to the CSV."""
    lines = [
        [row.test, *("–" if value is None else _cell(row, value) for value in values)]
        for row, values in zip(study.rows, study.values, strict=True)
        if row.severity is None
    ]
    return ["test", *names], lines


def _cell(row: Row, value: float) -> str:
    return f"{100 * value:.1f} %" if row.unit == "share" else f"{value:.3f}"


def _rows(studied: Subject, checkpoint: Checkpoint, source: str, options: Options, progress: Track) -> list[Row]:
    rows = trials.clean(studied)
    if "corruption" in options.tests:
        rows += trials.corruptions(studied, options.severities, options.seed, progress)
    if "adversarial" in options.tests:
        rows += trials.adversarial(studied, options.epsilons, options.steps, options.seed, progress)
    if "sketch" in options.tests:
        rows += trials.sketches(studied)
    if "conflict" in options.tests:
        rows += trials.conflicts(studied, _masks(studied, options), options.seed)
    if "shift" in options.tests:
        rows += trials.shifts(studied, options.seed)
    if "calibration" in options.tests:
        rows += trials.calibrations(studied, _val(checkpoint, source, options, progress), options.seed)
    return rows


def _masks(studied: Subject, options: Options) -> list[np.ndarray]:
    assert options.masks is not None  # `Options` has seen to it
    files = mask_files(options.masks, studied.samples)
    masks = []
    for sample in studied.samples:
        if sample.name not in files:
            raise missing_mask(sample)
        height, width = read_image(sample).shape[1:]
        masks.append(read_mask(sample, files[sample.name], (height, width), studied.preprocess).numpy())
    return masks


def _val(checkpoint: Checkpoint, source: str, options: Options, progress: Track) -> Subject | None:
    """The pictures that the run chose its checkpoint by; None where they are not known, or may be those under test."""
    opened = match_classes(open_source(source), checkpoint.class_names, "single")
    recorded = recorded_splits(checkpoint.path) if checkpoint.path else None
    parts = {sample.split for sample in opened.samples} | set((recorded or {}).values())
    if options.split not in ("auto", "test") or not {"val", "test"} <= parts:
        return None
    try:
        own = held_out(opened, checkpoint.path, "val", progress=progress)
    except VitrailError:  # the run's val part is of another source
        return None
    labelled = [sample for sample in own.samples if sample.labels]
    order = permutation(len(labelled), derive(options.seed, "val pictures"))[: options.limit]
    samples = [labelled[place] for place in order]
    return subject(checkpoint, samples, batch_size=options.batch_size, device=options.device, progress=progress)
