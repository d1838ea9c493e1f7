"""How much fits: amounts of memory as people write them, and the largest batch."""

import re
from collections.abc import Callable

from ..errors import VitrailError

_UNITS = {"": 1, "B": 1} | {
    f"{letter}{suffix}": base ** (power + 1)
    for power, letter in enumerate("KMGT")
    for suffix, base in (("", 1024), ("B", 1000), ("IB", 1024))
}


def parse_bytes(text: str) -> int:
    """Bytes of "16GB" (10⁹), "16GiB" or "16G" (2³⁰), "800MB", "1.5 TiB".

    Raises:
        VitrailError: not an amount of memory.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)", text.strip())
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None or float(match[1]) == 0:
        raise VitrailError(f"{text!r} is not an amount of memory: write it as 16GB, 16GiB or 800MB")
    return int(float(match[1]) * unit)


def format_bytes(count: int) -> str:
    """A number of bytes with three digits: 669 MB, 36.3 GB (powers of 1000)."""
    value, units = count / 1000, ["TB", "GB", "MB", "kB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop()
    unit = units[-1]
    return f"{value:.3g} {unit}" if value < 99.95 else f"{value:.0f} {unit}"


def largest_batch(peak: Callable[[int], int], budget: int) -> int:
    """The largest batch whose `peak(batch)` bytes fit the budget; 0 where not even one picture does.

    Memory grows by the same for each picture, but for small batches, where another moment is the worst. So a
    line through two measured batches gives a first answer; it is then measured, and moved until it is exact.
    """
    few, more = 32, 64
    low, high = peak(few), peak(more)
    slope = max(1.0, (high - low) / (more - few))
    known = {few: low, more: high}

    def fits(batch: int) -> bool:
        if batch not in known:
            known[batch] = peak(batch)
        return known[batch] <= budget

    best = max(1, int(few + (budget - low) / slope))
    while best and not fits(best):
        best = max(0, min(best - 1, int(best - (known[best] - budget) / slope)))
    while fits(best + 1):
        best += 1
    return best
