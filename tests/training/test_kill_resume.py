"""kill -9 anywhere, resume, and nothing differs from the run that was not disturbed; with labels and without."""

import os
import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from killable_runs import EVERYTHING, MASKED, in_own_process, make_pictures, train_once

from vitrail.objectives.beit import BEiTObjectiveConfig
from vitrail.objectives.dino import DINOObjectiveConfig

KILLS = int(os.environ.get("VITRAIL_KILLS", "3"))
"""How many runs are killed twice; `VITRAIL_KILLS=20 pytest -m "" tests/training/test_kill_resume.py` is the long
version."""


DINO = DINOObjectiveConfig(prototypes=16, hidden_dim=16, bottleneck_dim=8, local_crops=2)
RECIPES = {
    "supervised": EVERYTHING,
    "mae": MASKED,
    "dino": replace(MASKED, objective=DINO),
    "beit": replace(MASKED, objective=BEiTObjectiveConfig(codes=16)),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("pictures") / "three kinds")


def outcome(run: Path) -> dict[str, bytes]:
    """What must not differ: weights, optimiser, moving average, counters and log."""
    files = ["metrics.jsonl", "metrics.csv", "evaluation.json"]
    files += [f"checkpoints/last/{name}" for name in ("model.safetensors", "trainer.safetensors", "trainer.json")]
    files += ["checkpoints/best/model.safetensors"]
    return {name: (run / name).read_bytes() for name in files}


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, bytes]]:
    @cache
    def outcome_of(name: str) -> dict[str, bytes]:
        out = tmp_path_factory.mktemp("undisturbed") / name
        assert in_own_process(train_once, str(source), str(out), RECIPES[name], 0) == 0
        return outcome(out)

    return outcome_of


CASES = [(name, attempt) for name in RECIPES for attempt in range(KILLS if name in ("supervised", "mae") else 1)]


@pytest.mark.exhaustive  # test_resume and test_every_objective stop runs too, without killing them
@pytest.mark.parametrize(("name", "attempt"), CASES)
def test_a_killed_run_ends_like_an_undisturbed_one(source, undisturbed, tmp_path, attempt, name):
    dice = random.Random(attempt)
    recipe = replace(RECIPES[name], workers=2 if attempt % 2 else 0)
    out = tmp_path / "run"
    # The run has several hundred events; two kills, the second one while resuming.
    for kill_at in (dice.randint(25, 280), dice.randint(1, 100)):
        in_own_process(train_once, str(source), str(out), recipe, kill_at)
    assert in_own_process(train_once, str(source), str(out), recipe, 0) == 0
    assert outcome(out) == undisturbed(name)
