"""Time budget of a run: the number of steps follows the measured speed while the run goes on."""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ..errors import VitrailError
from .growth import SMALL_PART
from .loop import Trainer
from .recipe import Recipe, chosen, timed
from .recipe_checks import read_warmup
from .setup import RunSetup
from .step_plan import Revision, StepPlan

_FIRST_GUESS = 10_000
"""Planned steps before anything is measured: so many that the first steps have the start of the warm-up."""

_EARLY = (2, 3, 4, 8, 16)
"""Steps after which the plan is revised whatever the clock says."""

_OFTEN, _EVALUATING, _MOST_EVALUATIONS = 0.03, 0.12, 20
"""Fraction of the budget between two revisions; fraction for evaluations on the way, and the largest number of them."""

_FORWARD = 0.35
"""Time of a forward pass, as a fraction of a training step's; a third by FLOPs."""

_REPORT_SECONDS = 5.0
"""Time for the report and the model card, besides the evaluation on the test split."""


def fix_steps(setup: RunSetup) -> RunSetup:
    """Return the setup with the number of steps and of epochs, each of which follows from the other.

    Unchanged if minutes decide.

    Raises:
        VitrailError: the warm-up has a length of its own, and the run ends in it.
    """
    recipe = setup.recipe
    per_epoch = len(setup.train_loader()) / recipe.accumulate
    if timed(recipe):
        return setup
    steps = recipe.steps or max(1, round(chosen(recipe.epochs) * per_epoch))
    _check_warmup(recipe, steps, per_epoch)
    epochs = steps / per_epoch
    closed: Recipe = replace(recipe, steps=steps, epochs=round(epochs, 2) or float(f"{epochs:.1g}"))
    return replace(setup, recipe=closed)


def _check_warmup(recipe: Recipe, steps: int, per_epoch: float) -> None:
    """Raise VitrailError for a warm-up of a given length that the run ends in."""
    span = read_warmup(recipe.warmup)
    length = span.value * (per_epoch if span.unit == "epochs" else 1)
    if span.unit != "share" and length >= steps:
        raise VitrailError(
            f"recipe.warmup is {recipe.warmup}, {length:.0f} steps, and the run has {steps}: train longer, or write a "
            "fraction of the steps, such as --set warmup=0.1"
        )


def first_plan(setup: RunSetup) -> StepPlan:
    """The plan of a run before its first step."""
    recipe = setup.recipe
    if timed(recipe):
        return StepPlan.fixed(_FIRST_GUESS, _FIRST_GUESS)
    every = chosen(recipe.evaluate_every) * len(setup.train_loader()) / recipe.accumulate
    return StepPlan.fixed(chosen(recipe.steps), max(1, round(every)))


def time_budget(setup: RunSetup, started: float, keep: Callable[[StepPlan], None]) -> "TimeBudget":
    """The time budget of a run's recipe.

    Args:
        setup: its recipe has minutes.
        started: `time.monotonic()` at the start of the run.
        keep: saves a plan.
    """
    recipe = setup.recipe
    per_epoch = len(setup.train_loader()) / recipe.accumulate
    return TimeBudget(
        seconds=60 * chosen(recipe.minutes),
        started=started,
        most_steps=max(1, round(recipe.epochs * per_epoch)) if recipe.epochs else None,
        every=max(1, round(recipe.evaluate_every * per_epoch)) if recipe.evaluate_every else None,
        statistics=setup.statistics_count,
        validated=setup.validated_count,
        tested=len(setup.part("test")) if setup.objective_config.tasks else setup.validated_count,
        batch=chosen(recipe.batch_size) * recipe.accumulate,
        keep=keep,
    )


@dataclass
class TimeBudget:
    """Revises the plan of a trainer so that its run ends in time.

    After the first steps, every few seconds and after each evaluation, it divides the time that is left by the
    seconds of a step. Steps of a resumed run that were planned before the stop keep their plan.

    Attributes:
        seconds: time left for the run from `started`, training, evaluation and report together.
        started: value of `clock` at the start.
        most_steps: limit of the steps, from the recipe's epochs; None: none.
        every: steps between evaluations if the user gave them; None: as the time allows.
        statistics: images of an evaluation besides those of the validation split.
        validated, tested: images of the validation and the test split.
        batch: images of a step.
        keep: saves a plan.
        clock: seconds, as `time.monotonic`.

    From an evaluation to the end of the run there are `_stretches` evaluations at equal distances in the schedule.
    """

    seconds: float
    started: float
    most_steps: int | None
    every: int | None
    statistics: int
    validated: int
    tested: int
    batch: int
    keep: Callable[[StepPlan], None]
    clock: Callable[[], float] = time.monotonic
    _last: float = field(init=False)
    _revised: float = field(init=False)
    _small: deque[float] = field(init=False)
    _full: deque[float] = field(init=False)
    _evaluation: float | None = field(init=False, default=None)
    _evaluated_step: int = field(init=False, default=0)
    _stretches: int = field(init=False, default=1)

    def __post_init__(self) -> None:
        self._last = self._revised = self.clock()
        self._small, self._full = deque(maxlen=32), deque(maxlen=32)

    def stepped(self, trainer: Trainer) -> None:
        """Note the time of a step, and revise the plan if it is time to."""
        done, now = trainer.counters.step, self.clock()
        small = trainer.size_at(done - 1) != trainer.image_size
        self._note(self._small if small else self._full, now - self._last)
        self._last = now
        due = done in _EARLY or (done > _EARLY[0] and now - self._revised >= _OFTEN * self.seconds)
        if due and not trainer.plan.evaluates(done):
            self._revise(trainer)

    def evaluated(self, trainer: Trainer) -> None:
        """Note the time of an evaluation with its saves, and plan the next one."""
        now = self.clock()
        self._evaluation, self._last = now - self._last, now
        self._evaluated_step = trainer.counters.step
        self._revise(trainer)

    def _note(self, times: deque[float], seconds: float) -> None:
        if len(times) == 1 and seconds < times[0]:
            times.clear()  # the first step of a size allocates memory and may read images for the first time
        times.append(seconds)

    def _revise(self, trainer: Trainer) -> None:
        plan, done = trainer.plan, trainer.counters.step
        if done <= plan.last.step or done >= plan.last.steps:
            return  # planned before the run was stopped, or at its end
        position = plan.fraction(done)
        left = self.seconds - (self.clock() - self.started) - self._final_seconds(trainer)
        evaluations = self._evaluations(trainer, left, position)
        steps = done + max(1, self._affordable_steps(trainer, left, position, evaluations))
        steps = max(done + 1, min(steps, self.most_steps or steps))
        first, every = self._next_evaluations(plan, done, steps, evaluations)
        plan.revise(Revision(done, position, steps, first, every))
        self._revised = self.clock()
        self.keep(plan)

    def _affordable_steps(self, trainer: Trainer, left: float, position: float, evaluations: int) -> int:
        """Number of steps that fit into `left` seconds together with the evaluations among them."""
        step, evaluation = self._step_seconds(trainer, position), self._evaluation_seconds(trainer)
        if self.every:  # there are as many evaluations as the steps give, and one at the end
            return int((left - evaluation) / (step + evaluation / self.every))
        return int((left - evaluations * evaluation) / step)

    def _next_evaluations(self, plan: StepPlan, done: int, steps: int, evaluations: int) -> tuple[int, int]:
        """Steps done at the next evaluation, and steps from there to the following one."""
        if self.every:
            return self._evaluated_step + self.every, self.every
        if self._evaluated_step == done or done <= max(_EARLY):
            self._stretches = evaluations
        since, here = plan.fraction(self._evaluated_step), plan.fraction(done)
        part = (since + (1 - since) / self._stretches - here) / (1 - here)
        return done + max(1, math.ceil(part * (steps - done))), math.ceil((steps - done) / evaluations)

    def _step_seconds(self, trainer: Trainer, position: float) -> float:
        """Mean seconds of the remaining steps, small and full ones."""
        area = math.prod(trainer.small_size) / math.prod(trainer.image_size)
        small, full = _mean(self._small), _mean(self._full)
        full = full or chosen(small) / area
        small = small or full * area
        part = max(0.0, SMALL_PART - position) / (1 - position) if area < 1 else 0.0
        return part * small + (1 - part) * full

    def _evaluation_seconds(self, trainer: Trainer) -> float:
        """Seconds of an evaluation: as measured, or a guess from those of a step, which has a backward pass too."""
        if self._evaluation is not None:
            return self._evaluation
        return _FORWARD * self._step_seconds(trainer, 1 - 1e-9) * (self.validated + self.statistics) / self.batch

    def _final_seconds(self, trainer: Trainer) -> float:
        share = self.tested / max(1, self.validated + self.statistics)
        return min(_REPORT_SECONDS + share * self._evaluation_seconds(trainer), 0.5 * self.seconds)

    def _evaluations(self, trainer: Trainer, left: float, position: float) -> int:
        """Number of evaluations in the rest of the run, the last one included."""
        affordable = int(_EVALUATING * left / self._evaluation_seconds(trainer))
        return max(1, min(affordable, math.ceil(_MOST_EVALUATIONS * (1 - position))))


def _mean(times: deque[float]) -> float | None:
    return sum(times) / len(times) if times else None
