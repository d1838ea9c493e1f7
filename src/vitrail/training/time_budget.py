"""Number of steps of a run, from its epochs or from a time budget and the measured speed."""

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from ..data.loader import Batch, TrainLoader
from ..errors import VitrailError
from .folder import RunFolder
from .growth import SMALL_PART
from .loop import Trainer
from .measure import evaluate_trainer
from .recipe import Recipe, chosen
from .recorder import FolderRecorder
from .setup import RunSetup

_GLANCE, _REPORT_SECONDS, _FEW = 2.0, 8.0, 4


def fix_steps(setup: RunSetup, started: float, place: Path) -> tuple[RunSetup, float | None]:
    """Return the setup with its number of steps, and the seconds of a step if a time budget required measuring it.

    Args:
        setup: its recipe has steps, epochs or minutes; the first that is given decides, and epochs limit minutes.
        started: `time.monotonic()` at the start of the run; the budget counts from there.
        place: a folder on the disk of the run folder, to measure the time of saving.

    Raises:
        VitrailError: the budget is too short for a single step.
    """
    recipe = setup.recipe
    per_epoch = len(setup.train_loader()) / recipe.accumulate
    steps = recipe.steps or (max(1, round(recipe.epochs * per_epoch)) if recipe.epochs else None)
    seconds = None
    if recipe.steps is None and recipe.minutes is not None:
        seconds, affordable = _affordable_steps(setup, recipe.minutes * 60, started, place, steps)
        steps = min(steps or affordable, affordable)
    return _with_steps(setup, chosen(steps), per_epoch), seconds


def _with_steps(setup: RunSetup, steps: int, per_epoch: float) -> RunSetup:
    closed: Recipe = replace(setup.recipe, steps=steps, epochs=round(steps / per_epoch, 2))
    return replace(setup, recipe=closed)


def _affordable_steps(
    setup: RunSetup, budget: float, started: float, place: Path, wanted: int | None
) -> tuple[float, int]:
    """Seconds of a step with its share of the evaluations, and the number of steps that fit into `budget` seconds."""
    recipe = setup.recipe
    per_epoch = len(setup.train_loader()) / recipe.accumulate
    once = first_reading_seconds(setup)
    step_seconds, evaluation_seconds = measure_speed(setup, _GLANCE, place)
    if wanted is None or wanted * step_seconds > budget / 2:
        # The budget is tight: measure longer. A run far below its budget need not wait for that.
        step_seconds, evaluation_seconds = measure_speed(setup, min(60.0, 0.03 * budget), place)
    step_seconds += evaluation_seconds / max(1, round(chosen(recipe.evaluate_every) * per_epoch))
    tested = len(setup.data.test) / max(1, len(setup.data.val)) * evaluation_seconds
    left = budget - (time.monotonic() - started) - once - tested - _REPORT_SECONDS
    if left < step_seconds:
        raise VitrailError(
            f"{budget / 60:g} minutes are too short: a step takes {step_seconds:.1f} s, and reading the data "
            "and evaluating take time too; give more minutes or a smaller model"
        )
    return step_seconds, int(left / step_seconds)


def measure_speed(setup: RunSetup, seconds: float, place: Path) -> tuple[float, float]:
    """Seconds of a step, averaged over the image sizes of a run, and of an evaluation with saving, on a copy.

    One-time costs, such as decoding images that are kept in memory, come before the measurement.
    """
    trainer = setup.trainer(replace(setup.recipe, steps=1_000_000))
    batches = trainer.batches() if setup.recipe.workers else _the_same_again(trainer.loader)
    step_seconds = _step_seconds(trainer, batches, seconds / 2)
    if trainer.small_size != trainer.image_size:
        trainer.small_size = trainer.image_size
        step_seconds = SMALL_PART * step_seconds + (1 - SMALL_PART) * _step_seconds(trainer, batches, seconds / 2)
    return step_seconds, _evaluation_seconds(setup, trainer, place)


def _step_seconds(trainer: Trainer, batches: Iterator[Batch], seconds: float) -> float:
    trainer.step(batches)
    start, steps = time.perf_counter(), 0
    while steps < 3 or (time.perf_counter() - start < seconds and steps < 500):
        trainer.step(batches)
        steps += 1
    return (time.perf_counter() - start) / steps


def _evaluation_seconds(setup: RunSetup, trainer: Trainer, place: Path) -> float:
    with TemporaryDirectory(prefix=".measuring-", dir=place) as scratch:
        recorder = FolderRecorder(RunFolder(Path(scratch)), setup.checkpoint, (), lambda _: None)
        for _ in range(2):  # the first decodes images that are kept in memory
            before = time.perf_counter()
            trainer.evaluate(lambda measured: evaluate_trainer(setup, measured), recorder)
            recorder.keep_state(trainer)
        return time.perf_counter() - before


def first_reading_seconds(setup: RunSetup) -> float:
    """Seconds of decoding in the first epoch, if images are kept in memory; 0 with workers, which run in parallel."""
    if setup.recipe.workers:
        return 0.0
    loader = setup.train_loader()
    times = []
    for _ in range(2):
        before = time.perf_counter()
        read = sum(1 for _ in islice(loader.batches(), _FEW))
        times.append(time.perf_counter() - before)
    return max(0.0, times[0] - times[1]) / read * len(loader)


def _the_same_again(loader: TrainLoader) -> Iterator[Batch]:
    while True:
        yield from islice(loader.batches(), _FEW)
