"""The learning rate as a function of the step."""

import math
from typing import Literal

from .recipe_checks import read_warmup
from .step_plan import StepPlan

Shape = Literal["cosine", "linear"]

_LONGEST = 0.5
"""Fraction of the schedule after which the learning rate falls, though its warm-up in steps has not ended."""


def lr_factor(step: float, steps: int, *, warmup: int, schedule: Shape = "cosine", final: float = 0.0) -> float:
    """Learning rate at `step` (from 0) of `steps`, as a fraction of the peak.

    A step may lie between two whole ones, see `StepPlan.position`.

    Linear warm-up over `warmup` steps, then a fall to `final` along a half cosine (Loshchilov & Hutter, 2017,
    equation 5) or a line.
    """
    if step < warmup:
        return min(1.0, (step + 1) / warmup)
    return _fallen((step - warmup) / max(1, steps - warmup), schedule, final)


def scheduled_factor(
    plan: StepPlan,
    step: int,
    *,
    warmup: float | str = 0.0,
    steps_per_epoch: float = 1.0,
    schedule: Shape = "cosine",
    final: float = 0.0,
) -> float:
    """Learning rate at `step` (from 0) of a plan, as a fraction of the peak.

    A warm-up that is a share of the steps, and the fall after it, follow the continuous position in the schedule. One
    in steps or epochs has that length however often the number of steps is revised; if it takes more than half of the
    schedule, the learning rate begins to fall there without having reached its peak.

    Args:
        plan: number of steps, perhaps revised.
        step: steps done.
        warmup: fraction of the steps, or a text such as "5 epochs" or "1000 steps".
        steps_per_epoch: optimiser steps of an epoch.
        schedule, final: see `lr_factor`.
    """
    span = read_warmup(warmup)
    if span.unit == "share":
        place, steps = plan.position(step)
        return lr_factor(place, steps, warmup=round(span.value * steps), schedule=schedule, final=final)
    length = round(span.value * (steps_per_epoch if span.unit == "epochs" else 1))
    ramp, here = min(1.0, (step + 1) / max(1, length)), plan.fraction(step)
    end = min(_LONGEST, plan.fraction(length)) if step >= length else _LONGEST
    return ramp * _fallen(max(0.0, here - end) / (1 - end), schedule, final)


def _fallen(done: float, schedule: Shape, final: float) -> float:
    """The learning rate after a fraction of its fall, from 1 to `final`."""
    left = (1 + math.cos(math.pi * done)) / 2 if schedule == "cosine" else 1 - done
    return final + (1 - final) * left
