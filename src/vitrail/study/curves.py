"""Learning curves of models over the number of training images: intervals, crossings, and factors of data."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import VitrailError

Curve = Mapping[int, Sequence[float]]
"""Number of training images -> accuracy of each seed."""

_DRAWS = 500


@dataclass(frozen=True, slots=True)
class Point:
    """Accuracy at a number of images: mean over seeds, and its 95 % interval (Student's t, cut at 0 and 1), None for
    one seed."""

    images: int
    mean: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval; infinity where it is not reached within the curve.

    Attributes:
        value: of the mean curves.
        low, high: interval over draws of the means.
        reached: share of the draws in which it is finite.
    """

    value: float
    low: float
    high: float
    reached: float


def points(curve: Curve) -> list[Point]:
    """Means and intervals, in the order of the number of images."""
    found = []
    for images in sorted(curve):
        values = np.asarray(curve[images], dtype=float)
        half = _spread(values) * _quantile(len(values))
        ends = max(0.0, float(values.mean() - half)), min(1.0, float(values.mean() + half))
        interval = ends if len(values) > 1 else None
        found.append(Point(images, float(values.mean()), interval))
    return found


def needed_images(curve: Curve | Mapping[int, float], accuracy: float) -> float:
    """Number of images at which a curve first reaches an accuracy, linear in log(images); infinity if it does not.

    An accuracy that the smallest number of images already reaches gives that number: it may need fewer.
    """
    means = [(images, float(np.mean(curve[images]))) for images in sorted(curve)]
    if means[0][1] >= accuracy:
        return float(means[0][0])
    for (few, low), (many, high) in itertools.pairwise(means):
        if high >= accuracy > low:
            return float(few * (many / few) ** ((accuracy - low) / (high - low)))
    return math.inf


def data_factor(curve: Curve, other: Curve, images: int, *, seed: int = 0) -> Estimate:
    """How many times the images `curve` needs for the accuracy that `other` has with `images`.

    Args:
        curve: of the model that may need more.
        other: of the model that is compared with; it has a point at `images`.
        images: number of images.
        seed: seed of the draws.
    """
    value = needed_images(curve, float(np.mean(other[images]))) / images
    pairs = zip(_drawn(curve, seed), _drawn(other, seed + 1), strict=True)
    return _estimate(value, [needed_images(one, two[images]) / images for one, two in pairs])


def crossing(curve: Curve, other: Curve, *, seed: int = 0) -> Estimate:
    """Number of images from which `curve` is at least as accurate as `other`; infinity if it is not at the end."""
    pairs = zip(_drawn(curve, seed), _drawn(other, seed + 1), strict=True)
    means = [{images: float(np.mean(values)) for images, values in each.items()} for each in (curve, other)]
    return _estimate(_crosses(*means), [_crosses(one, two) for one, two in pairs])


def _crosses(curve: Mapping[int, float], other: Mapping[int, float]) -> float:
    shared = sorted(set(curve) & set(other))
    if not shared:
        raise VitrailError("the curves have no number of images in common")
    gaps = [curve[images] - other[images] for images in shared]
    if gaps[-1] < 0:
        return math.inf
    for place in range(len(shared) - 1, 0, -1):
        if gaps[place - 1] < 0:
            part = -gaps[place - 1] / (gaps[place] - gaps[place - 1])
            return float(shared[place - 1] * (shared[place] / shared[place - 1]) ** part)
    return float(shared[0])


def _drawn(curve: Curve, seed: int) -> list[dict[int, float]]:
    """Draws of the mean at each point: mean + standard error · Student's t; one seed has no spread."""
    source = np.random.default_rng(seed)
    columns = {}
    for images in sorted(curve):
        values = np.asarray(curve[images], dtype=float)
        noise = source.standard_t(len(values) - 1, _DRAWS) if len(values) > 1 else np.zeros(_DRAWS)
        columns[images] = values.mean() + _spread(values) * noise
    return [{images: float(column[row]) for images, column in columns.items()} for row in range(_DRAWS)]


def _estimate(value: float, draws: Sequence[float]) -> Estimate:
    ordered = np.sort(np.asarray(draws))  # infinity comes last; no interpolation with it
    low, high = (float(ordered[round(share * (len(ordered) - 1))]) for share in (0.025, 0.975))
    return Estimate(value, low, high, float(np.isfinite(ordered).mean()))


def _spread(values: np.ndarray) -> float:
    """Standard error of the mean."""
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0


def _quantile(count: int) -> float:
    """0.975 quantile of Student's t for a mean of so many values."""
    if count < 2:
        return 0.0
    try:
        from scipy.stats import t
    except ImportError as error:
        raise VitrailError('this study needs SciPy: pip install "vitrail[study]"') from error
    return float(t.ppf(0.975, count - 1))
