"""Memory budgets: parse and format amounts of memory, and find the largest batch that fits."""

import re
from collections.abc import Callable

from ..errors import VitrailError

_UNITS = {"": 1, "B": 1} | {
    f"{letter}{suffix}": base ** (power + 1)
    for power, letter in enumerate("KMGT")
    for suffix, base in (("", 1024), ("B", 1000), ("IB", 1024))
}


def parse_bytes(text: str) -> int:
    """Parse an amount of memory to bytes: "16GB" (10⁹), "16GiB" or "16G" (2³⁰), "800MB", "1.5 TiB".

    Raises:
        VitrailError: not an amount of memory.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)", text.strip())
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None or float(match[1]) == 0:
        raise VitrailError(f"{text!r} is not an amount of memory: write it as 16GB, 16GiB or 800MB")
    return int(float(match[1]) * unit)


def format_bytes(count: int) -> str:
    """Format a number of bytes with three digits: 669 MB, 36.3 GB (powers of 1000)."""
    value, units = count / 1000, ["TB", "GB", "MB", "kB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop()
    unit = units[-1]
    return f"{value:.3g} {unit}" if value < 99.95 else f"{value:.0f} {unit}"


def largest_batch(peak: Callable[[int], int], budget: int) -> int:
    """Largest batch whose `peak(batch)` bytes fit the budget; 0 if not even one image does.

    Memory grows linearly with the number of images, except for small batches, whose peak is at another moment. A line
    through two measured batches is therefore the first guess, which is then measured and corrected until it is exact.
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
