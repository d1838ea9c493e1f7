"""How many steps a run takes: from its epochs, or from a time budget and the measured speed."""

import time
from dataclasses import replace

from ..errors import VitrailError
from .assemble import Workshop
from .growth import mean_cost, small_size
from .recipe import settled

_GLANCE, _REPORT_SECONDS = 2.0, 8.0


def fix_steps(workshop: Workshop, started: float) -> float:
    """Write the number of steps into the workshop's recipe; returns the seconds of a step with its evaluations.

    Args:
        workshop: its recipe gives steps, epochs or minutes; the first of them decides, and epochs limit minutes.
        started: `time.monotonic()` when the run began; a budget counts from there.

    Raises:
        VitrailError: the budget is too short for a single step.
    """
    recipe, batches = workshop.recipe, len(workshop.train_loader())
    budget = None if recipe.minutes is None else recipe.minutes * 60
    step_seconds, evaluation_seconds = measure_speed(workshop, _GLANCE)
    per_epoch = batches / recipe.accumulate
    steps = recipe.steps or (max(1, round(recipe.epochs * per_epoch)) if recipe.epochs else None)
    if budget is not None and (steps is None or steps * step_seconds > budget / 2):
        # It will be close: look longer. A run far inside its budget need not wait for that.
        step_seconds, evaluation_seconds = measure_speed(workshop, min(60.0, 0.03 * budget))
    step_seconds *= mean_cost(*_sizes(workshop))
    step_seconds += evaluation_seconds / max(1, round(settled(recipe.evaluate_every) * per_epoch))
    if budget is not None and recipe.steps is None:
        tested = len(workshop.data.test) / max(1, len(workshop.data.val)) * evaluation_seconds
        left = budget - (time.monotonic() - started) - tested - _REPORT_SECONDS
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


def _sizes(workshop: Workshop) -> tuple[tuple[int, int], tuple[int, int]]:
    full = workshop.preprocess.image_size
    return full, small_size(workshop.checkpoint.model, full, settled(workshop.recipe.start_size))


def measure_speed(workshop: Workshop, seconds: float) -> tuple[float, float]:
    """(seconds an optimiser step at full size, seconds an evaluation), measured on a copy that is thrown away."""
    trainer = workshop.trainer(replace(workshop.recipe, steps=1_000_000, start_size=1.0))
    batches = trainer.batches()
    trainer.step(batches)  # the first one pays for what later ones find ready
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < 3 or (time.perf_counter() - start < seconds and len(times) < 500):
        before = time.perf_counter()
        trainer.step(batches)
        times.append(time.perf_counter() - before)
    before = time.perf_counter()
    workshop.evaluate(trainer.evaluated)
    return sum(times) / len(times), time.perf_counter() - before
