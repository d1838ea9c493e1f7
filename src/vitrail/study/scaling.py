"""Saturating power laws of errors: how an error falls with the number of images, of parameters or of operations.

error(x) = floor + scale · x^(−exponent); Rosenfeld et al. (2020), "A constructive prediction of the generalization
error across scales", and Hestness et al. (2017), "Deep learning scaling is predictable, empirically".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import VitrailError

_DRAWS = 200
_FLATTEST, _STEEPEST, _GRID = 0.01, 3.0, 120
"""Exponents that are tried: a grid, then a finer one around the best."""


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """error(x) = floor + at_largest · (x / largest)^(−exponent).

    Attributes:
        floor: error that remains for any x.
        at_largest: the part of the error at `largest` that falls with x.
        exponent: how fast it falls.
        largest: largest x of the fit, in whose units x is counted.
    """

    floor: float
    at_largest: float
    exponent: float
    largest: float

    def __call__(self, x: float) -> float:
        """Error at x."""
        return float(self.floor + self.at_largest * (x / self.largest) ** -self.exponent)


@dataclass(frozen=True, slots=True)
class ScalingFit:
    """A power law with intervals and a test of its prediction.

    Attributes:
        law: fitted to all points.
        draws: laws fitted to points that were drawn again (bootstrap); empty if there are too few points.
        held_out: (x, measured error, predicted error, low, high) of the largest x, predicted without it; None if fewer
            than three values of x remain.
    """

    law: PowerLaw
    draws: tuple[PowerLaw, ...]
    held_out: tuple[float, float, float, float, float] | None

    def interval(self, x: float) -> tuple[float, float] | None:
        """95 % interval of the error at x."""
        return _interval([law(x) for law in self.draws])

    def exponent_interval(self) -> tuple[float, float] | None:
        """95 % interval of the exponent."""
        return _interval([law.exponent for law in self.draws])

    def floor_interval(self) -> tuple[float, float] | None:
        """95 % interval of the floor."""
        return _interval([law.floor for law in self.draws])


def fit_scaling(xs: Sequence[float], errors: Sequence[float], *, seed: int = 0) -> ScalingFit:
    """Fit a saturating power law, with bootstrap intervals and the largest x held out as a test.

    Args:
        xs: positive; several runs may have the same x.
        errors: errors from 0 to 1, one for each x.
        seed: seed of the bootstrap.

    Raises:
        VitrailError: fewer than three different x, or values out of range.
    """
    x, y = np.asarray(xs, dtype=float), np.asarray(errors, dtype=float)
    sizes = np.unique(x)
    if len(sizes) < 3:
        raise VitrailError(f"a power law needs runs of three different sizes or more: there are {len(sizes)}")
    if (x <= 0).any() or not np.isfinite(y).all() or (y < 0).any():
        raise VitrailError("a power law needs positive sizes and errors that are not negative")
    draws = _bootstrap(x, y, seed)
    return ScalingFit(_fit(x, y[None])[0], draws, _held_out(x, y, sizes, seed))


def _fit(x: np.ndarray, y: np.ndarray) -> list[PowerLaw]:
    """Least squares of the errors, each point with the same weight, for every row of y.

    Args:
        x: (n,) sizes.
        y: (rows, n) errors.
    """
    largest = float(x.max())
    logs = np.log(x / largest)
    grid = np.geomspace(_FLATTEST, _STEEPEST, _GRID)
    best = _with_exponents(logs, y, np.broadcast_to(grid, (len(y), _GRID)))
    step = grid[1] / grid[0]
    fine = best[:, 2:] * np.geomspace(1 / step, step, _GRID)
    found = _with_exponents(logs, y, np.minimum(fine, _STEEPEST))
    return [PowerLaw(float(floor), float(scale), float(exponent), largest) for floor, scale, exponent in found]


def _with_exponents(logs: np.ndarray, y: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """(rows, 3) floor, scale and exponent of least error. For each exponent the other two follow by linear least
    squares, and are not negative.

    Args:
        logs: (n,) logarithms of the sizes.
        y: (rows, n) errors.
        exponents: (rows, g) candidates.
    """
    basis = np.exp(-exponents[:, :, None] * logs)  # (rows, g, n)
    errors = y[:, None]
    mean, error_mean = basis.mean(axis=2), errors.mean(axis=2)
    centred = basis - mean[:, :, None]
    scale = (centred * errors).sum(axis=2) / np.maximum((centred**2).sum(axis=2), 1e-300)
    scale = np.maximum(scale, 0)
    floor = error_mean - scale * mean
    without = (basis * errors).sum(axis=2) / (basis**2).sum(axis=2)  # the scale if there is no floor
    scale, floor = np.where(floor < 0, without, scale), np.maximum(floor, 0)
    cost = ((floor[:, :, None] + scale[:, :, None] * basis - errors) ** 2).sum(axis=2)
    rows, place = np.arange(len(y)), cost.argmin(axis=1)
    return np.stack([floor[rows, place], scale[rows, place], exponents[rows, place]], axis=1)


def _bootstrap(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[PowerLaw, ...]:
    """Fits to residuals that are drawn again: points of one size may be single runs."""
    (law,), drawn = _fit(x, y[None]), np.random.default_rng(seed)
    predicted = np.array([law(value) for value in x])
    freedom = len(x) - 3
    if freedom < 1:
        return ()
    residuals = (y - predicted) * np.sqrt(len(x) / freedom)  # three numbers were fitted
    return tuple(_fit(x, np.abs(predicted + drawn.choice(residuals, (_DRAWS, len(x))))))


def _held_out(
    x: np.ndarray, y: np.ndarray, sizes: np.ndarray, seed: int
) -> tuple[float, float, float, float, float] | None:
    largest = sizes[-1]
    rest = x < largest
    if len(sizes) < 4:
        return None
    (law,), draws = _fit(x[rest], y[rest][None]), _bootstrap(x[rest], y[rest], seed)
    low, high = _interval([each(largest) for each in draws]) or (float("nan"), float("nan"))
    return float(largest), float(y[~rest].mean()), law(largest), low, high


def _interval(values: Sequence[float]) -> tuple[float, float] | None:
    if not values:
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
