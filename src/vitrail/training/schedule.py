"""The learning rate as a function of the step."""

import math
from typing import Literal


def lr_factor(
    step: int,
    steps: int,
    *,
    warmup: int,
    schedule: Literal["cosine", "linear"] = "cosine",
    final: float = 0.0,
) -> float:
    """Learning rate at `step` (from 0) of `steps`, as a fraction of the peak.

    Linear warm-up over `warmup` steps, then a fall to `final` along a half cosine (Loshchilov & Hutter, 2017,
    equation 5) or a line.
    """
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    left = (1 + math.cos(math.pi * done)) / 2 if schedule == "cosine" else 1 - done
    return final + (1 - final) * left
