"""How long callables take, measured in turn, so that what disturbs the machine disturbs all of them."""

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch

Runner = Callable[[], object]


def race(
    runners: Mapping[str, Runner], device: torch.device, *, seconds: float, least: int = 3, most: int = 100
) -> dict[str, float]:
    """The median seconds of each; a first round, which warms up, is not counted.

    Args:
        seconds: how long all of it should take; from `least` to `most` rounds are run, whatever it says.
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
    """Seconds of one call, until the device is done with it."""
    _wait(device)
    started = time.perf_counter()
    runner()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
