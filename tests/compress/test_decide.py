"""Which settings are taken: a table of made-up outcomes."""

import math

import pytest

from vitrail.compress.decide import best, cautions, pareto, smallest_drop, verdict
from vitrail.compress.measure import Outcome
from vitrail.engines.choice import Setting


def outcome(speedup: float, difference: float, drop: float | None = None, changed: float | None = None) -> Outcome:
    return Outcome(setting=Setting(), seconds=1, speedup=speedup, difference=difference, drop=drop, changed=changed)


@pytest.mark.parametrize(
    ("given", "images", "expected"),
    [
        (outcome(1.5, 1e-4), 0, "exact"),
        (outcome(1.5, 1e-2), 0, "outputs differ by more than 0.001"),
        (outcome(1.01, 1e-4), 0, "not faster"),
        (outcome(1.5, 1e-2, 0.5, 0.01), 200, "within the drop"),
        (outcome(1.5, 1e-2, 0.51, 0.01), 200, "loses too much"),
        (outcome(1.5, 1e-2, -0.2, 0.01), 200, "within the drop"),
        (outcome(math.nan, math.nan), 200, "not faster"),
        (Outcome(setting=Setting(), failed="no such layer"), 200, "no such layer"),
    ],
)
def test_verdicts(given: Outcome, images: int, expected: str) -> None:
    assert verdict(given, 0.5, images) == expected


def test_the_fastest_that_may_be_taken() -> None:
    exact, lossy, bad = outcome(1.3, 1e-6, 0.0, 0.0), outcome(2.0, 1e-2, 0.4, 0.01), outcome(3.0, 0.1, 2.0, 0.05)
    assert best([exact, lossy, bad], 0.5, 100) is lossy
    assert best([exact, lossy, bad], 0.1, 100) is exact
    assert best([exact, lossy, bad], 5.0, 100) is bad
    assert best([bad], 0.5, 100) is None
    assert pareto([bad, exact, lossy, outcome(1.2, 0.1, 1.0, 0.1)]) == [exact, lossy, bad]


def test_what_few_images_cannot_tell() -> None:
    # Rule of three: none of 300 leaves up to 1 %. Else 1.96 deviations of a difference of paired proportions.
    assert smallest_drop(0, 300) == 1
    assert smallest_drop(0.04, 400) == pytest.approx(1.96)
    (sentence,) = cautions(outcome(2, 1e-2, 0.3, 0.04), 0.5, 400)
    assert "on 400 images a drop below 2.0 points does not differ from none" in sentence
    assert not cautions(outcome(2, 1e-2, 0.3, 0.04), 2.0, 400)
    assert not cautions(outcome(2, 1e-6, 0.0, 0.0), 0.5, 10)  # exact
    assert not cautions(None, 0.5, 0)
