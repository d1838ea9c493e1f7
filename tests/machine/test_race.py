"""Races: rounds in turn, timed by a clock that the runners move."""

from collections.abc import Callable

import pytest
import torch

from vitrail.machine.race import Runner, Spread, race, race_times

CPU = torch.device("cpu")
DURATIONS = {"a": [9.0, 1.0, 5.0, 3.0], "b": [0.0, 2.0, 2.0, 8.0]}


@pytest.fixture
def runners(monkeypatch: pytest.MonkeyPatch) -> dict[str, Runner]:
    """Each call takes the next of its durations."""
    now = 0.0
    left = {name: list(durations) for name, durations in DURATIONS.items()}

    def runner(name: str) -> Callable[[], None]:
        def run() -> None:
            nonlocal now
            now += left[name].pop(0)

        return run

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr("vitrail.machine.race.time.perf_counter", lambda: now)
    monkeypatch.setattr("vitrail.machine.race.time.sleep", sleep)
    return {name: runner(name) for name in DURATIONS}


def test_a_race_takes_turns() -> None:
    order: list[str] = []
    runners = {name: (lambda name=name: order.append(name)) for name in "ab"}
    times = race(runners, CPU, seconds=0, least=3)
    assert order == list("abababab")
    assert times.keys() == {"a", "b"}


def test_a_race_gives_the_median_without_the_first_round(runners: dict[str, Runner]) -> None:
    assert race(runners, CPU, seconds=0, least=3) == {"a": 3.0, "b": 2.0}


def test_the_times_of_every_round_without_the_pauses(runners: dict[str, Runner]) -> None:
    assert race_times(runners, CPU, seconds=0, pause=0.5) == {name: times[1:] for name, times in DURATIONS.items()}


def test_a_race_ends_with_its_time(runners: dict[str, Runner]) -> None:
    """The warm-up takes 9 s, the first round 3 s and the second 7 s."""
    assert race_times(runners, CPU, seconds=13, least=1) == {"a": [1.0, 5.0], "b": [2.0, 2.0]}


def test_the_spread_of_values() -> None:
    assert Spread.of([5.0, 1.0, 2.0, 3.0, 4.0]) == Spread(1.0, 2.0, 3.0, 4.0)
    assert Spread.of([7.0]) == Spread(7.0, 7.0, 7.0, 7.0)
