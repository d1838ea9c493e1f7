"""How many steps a run takes: from its epochs, or from a time budget and the measured speed."""

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from ..data.loader import Batch, TrainLoader
from ..errors import VitrailError
from .assemble import Workshop
from .folder import RunFolder
from .growth import SMALL_PART
from .keep import FolderKeeper
from .recipe import settled
from .trainer import Trainer

_GLANCE, _REPORT_SECONDS, _FEW = 2.0, 8.0, 4


def fix_steps(workshop: Workshop, started: float, place: Path) -> float:
    """Write the number of steps into the workshop's recipe; returns the seconds of a step with its evaluations.

    Args:
        workshop: its recipe gives steps, epochs or minutes; the first of them decides, and epochs limit minutes.
        started: `time.monotonic()` when the run began; a budget counts from there.
        place: a folder on the disk where the run will be, to measure how long saving takes.

    Raises:
        VitrailError: the budget is too short for a single step.
    """
    recipe, batches = workshop.recipe, len(workshop.train_loader())
    budget = None if recipe.minutes is None else recipe.minutes * 60
    once = first_reading_seconds(workshop)
    step_seconds, evaluation_seconds = measure_speed(workshop, _GLANCE, place)
    per_epoch = batches / recipe.accumulate
    steps = recipe.steps or (max(1, round(recipe.epochs * per_epoch)) if recipe.epochs else None)
    if budget is not None and (steps is None or steps * step_seconds > budget / 2):
        # It will be close: look longer. A run far inside its budget need not wait for that.
        step_seconds, evaluation_seconds = measure_speed(workshop, min(60.0, 0.03 * budget), place)
    step_seconds += evaluation_seconds / max(1, round(settled(recipe.evaluate_every) * per_epoch))
    if budget is not None and recipe.steps is None:
        tested = len(workshop.data.test) / max(1, len(workshop.data.val)) * evaluation_seconds
        left = budget - (time.monotonic() - started) - once - tested - _REPORT_SECONDS
        if left < step_seconds:
            raise VitrailError(
                f"{recipe.minutes:g} minutes are too short: a step takes {step_seconds:.1f} s, and looking at the data "
                "and measuring the result take their time too; give more minutes or a smaller model"
            )
        affordable = int(left / step_seconds)
        steps = min(steps or affordable, affordable)
    steps = settled(steps)
    workshop.recipe = replace(recipe, steps=steps, epochs=round(steps / per_epoch, 2))
    return step_seconds


def measure_speed(workshop: Workshop, seconds: float, place: Path) -> tuple[float, float]:
    """Seconds of a step, averaged over the sizes of a run, and of an evaluation with its saving, on a copy.

    What is paid only once, such as the decoding of images that are then kept, is paid before the clock starts.
    """
    trainer = workshop.trainer(replace(workshop.recipe, steps=1_000_000))
    batches = trainer.batches() if workshop.recipe.workers else _the_same_again(trainer.loader)
    step_seconds = _step_seconds(trainer, batches, seconds / 2)
    if trainer.small_size != trainer.image_size:
        trainer.small_size = trainer.image_size
        step_seconds = SMALL_PART * step_seconds + (1 - SMALL_PART) * _step_seconds(trainer, batches, seconds / 2)
    return step_seconds, _evaluation_seconds(workshop, trainer, place)


def _step_seconds(trainer: Trainer, batches: Iterator[Batch], seconds: float) -> float:
    trainer.step(batches)
    start, steps = time.perf_counter(), 0
    while steps < 3 or (time.perf_counter() - start < seconds and steps < 500):
        trainer.step(batches)
        steps += 1
    return (time.perf_counter() - start) / steps


def _evaluation_seconds(workshop: Workshop, trainer: Trainer, place: Path) -> float:
    with TemporaryDirectory(prefix=".measuring-", dir=place) as scratch:
        keeper = FolderKeeper(RunFolder(Path(scratch)), workshop.checkpoint, tensorboard=False, say=lambda _: None)
        for _ in range(2):  # the first decodes images that are then kept
            before = time.perf_counter()
            trainer.evaluate(workshop.evaluate, keeper)
            keeper.keep_state(trainer)
        return time.perf_counter() - before


def first_reading_seconds(workshop: Workshop) -> float:
    """What the first epoch pays for decoding images that are then kept; 0 with workers, who do it meanwhile."""
    if workshop.recipe.workers:
        return 0.0
    loader = workshop.train_loader()
    times = []
    for _ in range(2):
        before = time.perf_counter()
        read = sum(1 for _ in islice(loader.batches(), _FEW))
        times.append(time.perf_counter() - before)
    return max(0.0, times[0] - times[1]) / read * len(loader)


def _the_same_again(loader: TrainLoader) -> Iterator[Batch]:
    while True:
        yield from islice(loader.batches(), _FEW)
