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


def cautions(chosen: Outcome | None, max_drop: float, images: int, least: float | None) -> list[str]:
    """What the reader of the result must not miss.

    Args:
        chosen: the setting that was taken.
        max_drop: points that may be lost.
        images: number of images that it was measured on.
        least: smallest drop that differs from none on them; None if nothing is lost, or there are no images.
    """
    if chosen is None or least is None or least <= max_drop:
        return []
    enough = math.ceil(images * (least / max_drop) ** 2) if max_drop else 100 * images
    return [
        f"on {images:,} images a drop below {least:.1f} points does not differ from none, and {max_drop:g} were "
        f"allowed: give more images, about {enough:,}"
    ]
