"""RandAugment's settings as timm writes them, in a file without torch so that the command line starts fast."""

import re
from dataclasses import dataclass

from ..errors import VitrailError

MOST_LEVEL = 10.0
"""Level at which an operation has its full strength."""

_UNIFORM = 100.0
"""A deviation above this stands for a uniform magnitude, in timm's notation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RandAugmentPolicy:
    """Settings of RandAugment (Cubuk et al., 2020), with timm's additions.

    Attributes:
        magnitude: mean level of the operations, from 0 to 10.
        deviation: standard deviation of the level; inf: uniform from 0 to `magnitude`.
        increasing: use the variants whose strength grows with the level.
        count: operations drawn for each image, with replacement.
        rate: probability of applying an operation that was drawn.
        most: largest level.
    """

    magnitude: float = 10.0
    deviation: float = 0.0
    increasing: bool = False
    count: int = 2
    rate: float = 0.5
    most: float = MOST_LEVEL


_NUMBER = r"(\d+(?:\.\d+)?|inf)"
_FIELDS = {"m": "magnitude", "mstd": "deviation", "inc": "increasing", "n": "count", "p": "rate", "mmax": "most"}
_LARGEST = {
    "magnitude": 100.0,
    "deviation": float("inf"),
    "increasing": 1.0,
    "count": 100.0,
    "rate": 1.0,
    "most": 100.0,
}


def parse_policy(text: str) -> RandAugmentPolicy:
    """Parse timm's notation: rand-m9-mstd0.5-inc1, with n (operations), p (rate) and mmax (largest level) besides.

    Raises:
        VitrailError: another notation, or a number out of range.
    """
    first, *sections = text.split("-")
    values: dict[str, float] = {}
    for section in sections:
        match = re.fullmatch(rf"([a-z]+){_NUMBER}", section)
        if match is None or match[1] not in _FIELDS:
            raise _unknown(text, section)
        name, value = _FIELDS[match[1]], float(match[2])
        if name != "deviation" and (value > _LARGEST[name] or (name in ("count", "increasing") and value % 1)):
            raise VitrailError(f"augment.randaugment has {section}: {match[1]} is at most {_LARGEST[name]:g}")
        values[name] = value
    if first != "rand":
        raise _unknown(text, first)
    default = RandAugmentPolicy()
    deviation = values.get("deviation", default.deviation)
    return RandAugmentPolicy(
        magnitude=values.get("magnitude", default.magnitude),
        deviation=float("inf") if deviation > _UNIFORM else deviation,
        increasing=bool(values.get("increasing", default.increasing)),
        count=int(values.get("count", default.count)),
        rate=values.get("rate", default.rate),
        most=values.get("most", default.most),
    )


def _unknown(text: str, section: str) -> VitrailError:
    return VitrailError(
        f"augment.randaugment is {text[:80]}, and {section[:80]!r} is not readable: write a number of operations, or "
        "timm's notation such as rand-m9-mstd0.5-inc1 (m magnitude, mstd its deviation, inc1 increasing, n operations, "
        "p rate, mmax largest magnitude)"
    )
