"""Which settings are taken: a table of made-up outcomes."""

import math
from pathlib import Path

import pytest
import torch
from scipy import stats

from vitrail.compress.decide import best, cautions, pareto, verdict
from vitrail.compress.margin import drop_of_groups, drop_of_share
from vitrail.compress.measure import Outcome
from vitrail.data.samples import Sample
from vitrail.engines.choice import Setting
from vitrail.tasks.classification import Classification


def outcome(speedup: float, difference: float, drop: float | None = None, changed: float | None = None) -> Outcome:
    return Outcome(setting=Setting(), seconds=1, speedup=speedup, difference=difference, drop=drop, changed=changed)


def test_the_margin_of_a_drop() -> None:
    """Groups of one size and a mean of images: the interval of the mean of ten numbers, by Student's t."""
    names, count = ("a", "b", "c"), 40
    draw = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(2, count, 3, generator=draw), torch.randint(3, (count,), generator=draw)
    samples = [Sample("image.png", (label,), split=None, location=Path("image.png")) for label in labels.tolist()]
    found = drop_of_groups(Classification(), names, samples, (logits[0], logits[1]))
    right = (logits.argmax(dim=-1) == labels).double()
    drops = 100 * (right[0] - right[1]).reshape(4, 10).mean(dim=0)
    assert found == pytest.approx(stats.t.ppf(0.975, 9) * (drops.std() / 10**0.5).item(), rel=1e-6)
    assert drop_of_groups(Classification(), names, samples[:19], (logits[0, :19], logits[1, :19])) is None
    failing = torch.full((count, 3), float("nan"))
    assert drop_of_groups(Classification(), names, samples, (logits[0], failing)) is None


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
    assert drop_of_share(0, 300) == 1
    assert drop_of_share(0.04, 400) == pytest.approx(1.96)
    (sentence,) = cautions(outcome(2, 1e-2, 0.3, 0.04), 0.5, 400, 1.96)
    assert "on 400 images a drop below 2.0 points does not differ from none" in sentence
    assert not cautions(outcome(2, 1e-2, 0.3, 0.04), 2.0, 400, 1.96)
    assert not cautions(outcome(2, 1e-6, 0.0, 0.0), 0.5, 10, None)  # exact
    assert not cautions(None, 0.5, 0, None)
