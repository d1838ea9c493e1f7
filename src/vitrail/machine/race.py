"""Time callables in turn, so that disturbances of the machine affect all of them equally."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

import torch

Runner = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Spread:
    """Minimum, quartiles and median of measurements."""

    minimum: float
    lower: float
    median: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of at least one value; quartiles are interpolated between the values."""
        if len(values) == 1:
            return cls(*[values[0]] * 4)
        lower, middle, upper = quantiles(values, n=4, method="inclusive")
        return cls(min(values), lower, middle, upper)


def race(
    runners: Mapping[str, Runner],
    device: torch.device,
    *,
    seconds: float,
    least: int = 3,
    most: int = 100,
    pause: float = 0.0,
) -> dict[str, float]:
    """Median seconds of each runner, see `race_times`."""
    times = race_times(runners, device, seconds=seconds, least=least, most=most, pause=pause)
    return {name: median(measured) for name, measured in times.items()}


def race_times(
    runners: Mapping[str, Runner],
    device: torch.device,
    *,
    seconds: float,
    least: int = 3,
    most: int = 100,
    pause: float = 0.0,
) -> dict[str, list[float]]:
    """Seconds of each runner in every round, without the first round, which is the warm-up.

    Args:
        seconds: time budget for all rounds; at least `least` and at most `most` rounds are run.
        pause: seconds before each call, for the threads of the runner before to fall asleep: OpenMP's wait for more
            work without giving up their cores for some milliseconds.
    """
    end = time.perf_counter() + seconds
    times: dict[str, list[float]] = {name: [] for name in runners}
    for runner in runners.values():
        timed(runner, device)
    for finished in range(most):
        if finished >= least and time.perf_counter() >= end:
            break
        for name, runner in runners.items():
            if pause:
                time.sleep(pause)
            times[name].append(timed(runner, device))
    return times


def timed(runner: Runner, device: torch.device) -> float:
    """Seconds of one call, until the device has finished it."""
    _wait(device)
    started = time.perf_counter()
    runner()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
