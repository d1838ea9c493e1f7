"""Measured results that advice is based on: a table in the package, measurements.json."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from ..plain import parse_json
from ..typed import build

Kind = Literal["vit", "hybrid", "cnn"]
Question = Literal["scratch", "pretrained", "robustness"]

KIND_WORDS: dict[Kind, str] = {
    "vit": "plain ViT",
    "hybrid": "hybrid (convolutional stem, transformer body)",
    "cnn": "CNN",
}
_NEAR = 10.0
"""Factor in the number of images, or in the side, up to which a measurement counts as near."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Result of one model: its kind, its name, and its accuracy."""

    kind: Kind
    model: str
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Results of models that were measured in the same way.

    Attributes:
        question: "scratch" (random weights), "pretrained" (the results are of fine-tuned weights, named so in `model`),
            or "robustness" (accuracy under corruptions).
        source: the images.
        images: training images.
        classes: classes.
        side: shorter side of the images in pixels.
        minutes: training time of each model; None if it differs, see `note`.
        machine: where it was measured.
        logged: date in LOG.md.
        seeds: runs of each model.
        tested_on: images that it was tested on.
        results: the models.
        note: what limits it.
    """

    question: Question
    source: str
    images: int
    classes: int
    side: int
    minutes: float | None
    machine: str
    logged: str
    seeds: int
    tested_on: int
    results: tuple[Result, ...]
    note: str

    @property
    def compares(self) -> bool:
        """Whether there are results of two kinds or more."""
        return len({result.kind for result in self.results}) > 1

    @property
    def best(self) -> Result:
        """The most accurate result."""
        return max(self.results, key=lambda result: result.accuracy)

    @property
    def margin(self) -> float:
        """Half of an approximate 95 % interval of the difference of two accuracies."""
        variances = sorted((r.accuracy * (1 - r.accuracy) for r in self.results), reverse=True)[:2]
        return 1.96 * math.sqrt(sum(variances) / self.tested_on)

    def distance(self, images: int, side: int) -> float:
        """Distance of other images: the larger of both factors in number and side, from 1."""
        return max(_factor(images, self.images), _factor(side, self.side))

    def is_near(self, images: int, side: int) -> bool:
        """Whether number and side of other images differ by a factor of at most ten."""
        return self.distance(images, side) <= _NEAR

    def words(self) -> str:
        """The measurement in one line."""
        results = ", ".join(f"{result.model} {100 * result.accuracy:.1f} %" for result in self.results)
        time = "" if self.minutes is None else f", {self.minutes:g} minutes"
        seeds = "1 seed" if self.seeds == 1 else f"{self.seeds} seeds"
        return f"{self.source} ({self.images:,} images, {self.classes} classes{time}, {seeds}): {results}; {self.note}"


@cache
def measurements() -> tuple[Measurement, ...]:
    """All measurements of the table."""
    text = (files("vitrail.study") / "measurements.json").read_text(encoding="utf-8")
    return tuple(build(Measurement, values, "measurements.json") for values in parse_json(text.encode()))


def nearest_measurement(found: Sequence[Measurement], question: Question, images: int, side: int) -> Measurement | None:
    """The nearest measurement of a question that compares kinds; None if there is none."""
    known = [each for each in found if each.question == question and each.compares]
    return min(known, key=lambda each: each.distance(images, side), default=None)


def _factor(one: float, other: float) -> float:
    return max(one / other, other / one)
