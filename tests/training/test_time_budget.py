"""The time budget on a simulated machine: each step and evaluation takes a number of seconds that the test chooses."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from vitrail.training.growth import SMALL_PART
from vitrail.training.step_plan import Revision, StepPlan
from vitrail.training.time_budget import TimeBudget


@dataclass
class Machine:
    """A trainer that only counts, and a clock that moves by what its steps cost."""

    seconds: Callable[[float, float], float]
    """(time, fraction of the run) -> seconds of a step on full images."""
    evaluation: float = 3.0
    now: float = 0.0
    small: float = 0.6
    evaluated: list[int] = field(default_factory=list)

    def run(self, budget: float, plan: StepPlan | None = None, first: int = 0, **options: Any) -> StepPlan:
        trainer = SimpleNamespace(
            plan=plan or StepPlan.fixed(10_000, 10_000),
            counters=SimpleNamespace(step=first),
            image_size=(10, 10),
            small_size=(10, 6),
        )
        trainer.size_at = lambda step: (10, 6) if trainer.plan.fraction(step) < SMALL_PART else (10, 10)
        given = {"most_steps": None, "every": None, **options}
        pace = TimeBudget(
            seconds=budget,
            started=0.0,
            statistics=100,
            validated=100,
            tested=100,
            batch=64,
            keep=lambda _: None,
            clock=lambda: self.now,
            **given,
        )
        while trainer.counters.step < trainer.plan.at(trainer.counters.step).steps:
            step = trainer.counters.step
            small = self.small if trainer.size_at(step) != (10, 10) else 1.0
            self.now += small * self.seconds(self.now, trainer.plan.fraction(step)) + (1.0 if step == first else 0.0)
            trainer.counters.step += 1
            pace.stepped(trainer)
            if trainer.plan.evaluates(trainer.counters.step):
                self.now += self.evaluation
                self.evaluated.append(trainer.counters.step)
                pace.evaluated(trainer)
        self.now += self.evaluation / 2 + 5.0  # the test split and the report
        return trainer.plan


MACHINES = {
    "even": lambda now, part: 0.5,
    "slow": lambda now, part: 7.0,
    "busy from the middle on": lambda now, part: 0.2 if now < 90 else 1.5,
    "free from the middle on": lambda now, part: 1.5 if now < 90 else 0.2,
    "images read in the first minute": lambda now, part: 0.6 if now < 60 else 0.3,
}


@pytest.mark.parametrize("name", MACHINES)
def test_a_run_ends_in_time_whatever_the_speed_does(name):
    machine = Machine(MACHINES[name])
    plan = machine.run(180.0)
    assert 0.9 * 180 <= machine.now <= 1.05 * 180
    assert plan.fraction(plan.last.steps) == 1
    places = [plan.fraction(step) for step in range(plan.last.steps + 1)]
    assert places == sorted(places)
    assert plan.fraction(8) < 0.1 or plan.last.steps < 100, "a slow first step moves the schedule no further"
    assert machine.evaluated[-1] == plan.last.steps
    assert 1 <= len(machine.evaluated) <= 21
    assert 3.0 * (len(machine.evaluated) - 1) <= 0.13 * 180, "evaluations on the way take an eighth of the time at most"


def test_evaluations_that_cost_much_are_few_and_those_of_the_user_are_kept():
    machine = Machine(MACHINES["even"], evaluation=30.0)
    machine.run(180.0)
    assert len(machine.evaluated) <= 2, "the cost is known after the first"
    machine = Machine(MACHINES["even"])
    machine.run(180.0, every=40)
    assert machine.evaluated[:3] == [40, 80, 120]
    often = Machine(MACHINES["even"])
    often.run(180.0, every=5)
    assert 0.85 * 180 <= often.now <= 1.05 * 180, "evaluations that the user asks for are part of the time"


def test_epochs_limit_the_steps_and_a_budget_that_is_gone_ends_after_one():
    machine = Machine(MACHINES["even"])
    assert machine.run(180.0, most_steps=50).last.steps == 50
    assert machine.now < 70
    late = Machine(MACHINES["even"], now=500.0)
    assert late.run(180.0).last.steps <= 4


@pytest.mark.parametrize("first", [0, 3, 40, 100])
def test_a_resumed_run_repeats_the_plan_that_was_made_before_the_stop(first):
    plan = Machine(MACHINES["busy from the middle on"]).run(180.0)
    made = list(plan.revisions)
    stopped = StepPlan.from_json(plan.to_json())
    again = Machine(MACHINES["slow"])
    again.run(180.0, plan=stopped, first=first)
    assert stopped.revisions[: len(made)] == made


def test_a_plan_without_revisions_counts_steps_exactly():
    plan = StepPlan.fixed(37, 5)
    assert [plan.position(step) for step in range(38)] == [(step, 37) for step in range(38)]
    assert [done for done in range(1, 38) if plan.evaluates(done)] == [5, 10, 15, 20, 25, 30, 35, 37]


def test_a_revision_changes_the_speed_and_not_the_place_in_the_schedule():
    plan = StepPlan.fixed(100, 10)
    plan.revise(Revision(50, plan.fraction(50), 70, 60, 10))
    assert plan.fraction(49) == 0.49
    assert plan.fraction(50) == 0.5
    assert plan.fraction(60) == pytest.approx(0.75)
    assert plan.fraction(70) == 1
    assert plan.evaluates(50), "the revision after step 50 was decided when it had been evaluated"
    assert [done for done in range(51, 71) if plan.evaluates(done)] == [60, 70]
