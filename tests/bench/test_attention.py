"""The benchmark of attentions: its logic, at the smallest size."""

import json
from collections.abc import Callable

import pytest
import torch

from vitrail.bench.attention import VARIANTS, bench_attention, faster_from
from vitrail.bench.attention_table import bench_table, circumstances
from vitrail.cli.main import main
from vitrail.errors import VitrailError
from vitrail.machine.race import race


def test_faster_from_means_from_there_on() -> None:
    plain = {100: 1.0, 200: 2.0, 400: 4.0}
    assert faster_from({100: 0.5, 200: 0.5, 400: 0.5}, plain) == 100
    assert faster_from({100: 0.5, 200: 3.0, 400: 0.5}, plain) == 400
    assert faster_from({100: 0.5, 200: 0.5, 400: 5.0}, plain) is None


def test_a_race_takes_turns() -> None:
    order: list[str] = []
    runners = {name: (lambda name=name: order.append(name)) for name in "ab"}
    times = race(runners, torch.device("cpu"), seconds=0, least=3)
    assert order == list("abababab")
    assert times.keys() == {"a", "b"}


def test_a_race_gives_the_median_without_the_first_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that the runners move: each call takes the next of its durations."""
    now = 0.0
    durations = {"a": [9.0, 1.0, 5.0, 3.0], "b": [0.0, 2.0, 2.0, 8.0]}

    def runner(name: str) -> Callable[[], None]:
        def run() -> None:
            nonlocal now
            now += durations[name].pop(0)

        return run

    monkeypatch.setattr("vitrail.machine.race.time.perf_counter", lambda: now)
    times = race({name: runner(name) for name in durations}, torch.device("cpu"), seconds=0, least=3)
    assert times == {"a": 3.0, "b": 2.0}


@pytest.mark.parametrize("training", [False, True])
def test_every_attention_is_measured(training: bool) -> None:
    found = bench_attention(dim=8, num_heads=2, max_length=200, training=training, minutes=0)
    assert found.lengths == (196,)
    assert [variant.name for variant in found.variants] == list(VARIANTS)
    assert [len(variant.milliseconds) for variant in found.variants] == [1] * len(VARIANTS)
    head, rows = bench_table(found)
    assert all(len(row) == len(head) for row in rows)
    assert rows[0][1].endswith("(1.00×)")
    assert circumstances(found).startswith("forward and backward" if training else "forward, ")


def test_lengths_for_which_no_time_is_left_are_left_out_and_said() -> None:
    found = bench_attention(dim=8, num_heads=2, max_length=5000, minutes=0)
    assert found.lengths == (196,)
    assert "give more --minutes" in circumstances(found)


def test_too_short_a_length_is_an_error() -> None:
    with pytest.raises(VitrailError, match="max length 100 is too short: use at least 196"):
        bench_attention(max_length=100)


def test_the_command_prints_a_table_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["bench", "attention", "--dim", "8", "--heads", "2", "--max-length", "196", "--minutes", "0"]
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit) as end:
            main([*small, *more, "--device", "cpu"])
        assert not end.value.code
        printed = capsys.readouterr()
        assert "PyTorch" in printed.err
        if more:
            assert len(json.loads(printed.out)["variants"]) == len(VARIANTS)
        else:
            assert "never up to 196" in printed.out or "N = 196" in printed.out
