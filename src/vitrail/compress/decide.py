"""Which of the measured settings are taken, and how precise the measurement is. Pure functions of outcomes."""

import math
from collections.abc import Iterable, Sequence

from .measure import EXACT, Outcome

FASTER = 1.02
"""Speed-up from which a setting counts as faster, as medians of a few seconds are not more precise."""


def verdict(outcome: Outcome, max_drop: float, images: int) -> str:
    """Why a setting is taken or refused, in words."""
    if outcome.failed:
        return outcome.failed
    if not outcome.speedup >= FASTER:
        return "not faster"
    if outcome.difference <= EXACT:
        return "exact"
    if not images or outcome.drop is None:
        return f"outputs differ by more than {EXACT:g}"
    return "within the drop" if outcome.drop <= max_drop else "loses too much"


def is_taken(outcome: Outcome, max_drop: float, images: int) -> bool:
    """Whether a setting may be chosen: faster, and exact or within the drop."""
    return verdict(outcome, max_drop, images) in ("exact", "within the drop")


def best(outcomes: Iterable[Outcome], max_drop: float, images: int) -> Outcome | None:
    """The fastest setting that may be chosen."""
    taken = [outcome for outcome in outcomes if is_taken(outcome, max_drop, images)]
    return max(taken, key=lambda outcome: outcome.speedup, default=None)


def pareto(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes that no other is both faster and better than, from the slowest to the fastest."""
    known = [outcome for outcome in outcomes if not outcome.failed]

    def loss(outcome: Outcome) -> float:
        return outcome.difference if outcome.drop is None else outcome.drop

    kept = [
        one
        for one in known
        if not any(other.speedup > one.speedup and loss(other) <= loss(one) for other in known if other is not one)
    ]
    return sorted(kept, key=lambda outcome: outcome.speedup)


def smallest_drop(changed: float, images: int) -> float:
    """Smallest drop in points that differs from none on this many images, with 95 % confidence.

    The difference of the accuracies of two models that disagree on a share p of n images has a deviation of √(p / n);
    if they never disagree, 3 / n is the upper limit of the share (Hanley and Lippman-Hand, 1983, "rule of three").
    """
    if changed == 0:
        return 300 / images
    return 196 * math.sqrt(changed / images)


def cautions(chosen: Outcome | None, max_drop: float, images: int) -> list[str]:
    """What the reader of the result must not miss."""
    if chosen is None or chosen.changed is None or chosen.difference <= EXACT:
        return []
    least = smallest_drop(chosen.changed, images)
    if least <= max_drop:
        return []
    enough = math.ceil(images * (least / max_drop) ** 2) if max_drop else 100 * images
    return [
        f"on {images:,} images a drop below {least:.1f} points does not differ from none, and {max_drop:g} were "
        f"allowed: give more images, about {enough:,}"
    ]
