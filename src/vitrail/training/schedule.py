"""The learning rate as a function of the step."""

import math
from typing import Literal


def lr_factor(
    step: float,
    steps: int,
    *,
    warmup: int,
    schedule: Literal["cosine", "linear"] = "cosine",
    final: float = 0.0,
) -> float:
    """Learning rate at `step` (from 0) of `steps`, as a fraction of the peak.

    A step may lie between two whole ones, see `StepPlan.position`.

    Linear warm-up over `warmup` steps, then a fall to `final` along a half cosine (Loshchilov & Hutter, 2017,
    equation 5) or a line.
    """
    if step < warmup:
        return min(1.0, (step + 1) / warmup)
    done = (step - warmup) / max(1, steps - warmup)
    left = (1 + math.cos(math.pi * done)) / 2 if schedule == "cosine" else 1 - done
    return final + (1 - final) * left
