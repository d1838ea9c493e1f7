"""Time callables in turn, so that disturbances of the machine affect all of them equally."""

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch

Runner = Callable[[], object]


def race(
    runners: Mapping[str, Runner], device: torch.device, *, seconds: float, least: int = 3, most: int = 100
) -> dict[str, float]:
    """Median seconds of each runner, without the first round, which is the warm-up.

    Args:
        seconds: time budget for all rounds; at least `least` and at most `most` rounds are run.
    """
    end = time.perf_counter() + seconds
    times: dict[str, list[float]] = {name: [] for name in runners}
    for runner in runners.values():
        timed(runner, device)
    while len(next(iter(times.values()))) < least or (
        time.perf_counter() < end and len(next(iter(times.values()))) < most
    ):
        for name, runner in runners.items():
            times[name].append(timed(runner, device))
    return {name: median(measured) for name, measured in times.items()}


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
