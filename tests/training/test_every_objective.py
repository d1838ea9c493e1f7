"""Every objective without labels: a run that is stopped and resumed, another seed, and what is done with the result."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from killable_runs import MASKED, make_pictures

import vitrail
from vitrail.objectives.dino import DINOObjectiveConfig
from vitrail.objectives.registry import OBJECTIVES, objective_config
from vitrail.training.loop import Trainer

SMALLER: dict[str, Any] = {
    "mae": {"decoder_dim": 32, "decoder_depth": 1},
    "videomae": {"decoder_dim": 32, "decoder_depth": 1},
    "beit": {"codes": 16},
    "dino": {"prototypes": 16, "hidden_dim": 16, "bottleneck_dim": 8, "local_crops": 2},
}
NAMES = [
    name if name in ("beit", "dino", "videomae") else pytest.param(name, marks=pytest.mark.exhaustive)
    for name in OBJECTIVES
    if not objective_config(name).tasks
]
"""All of them; in the quick tests those with tensors of their own, which is the harder case, and one with clips."""


def recipe(name: str) -> vitrail.Recipe:
    objective = objective_config(name)(**SMALLER.get(name, {}))
    overrides = {**MASKED.overrides, "depth": 1}
    model = MASKED.model
    if objective.clips:
        model, overrides = "videomae_small_patch16_224", {**overrides, "num_frames": 4}
    lengths = {"epochs": None, "steps": 3, "ema": 0.0, "precision": "float32"}
    return replace(MASKED, model=model, objective=objective, overrides=overrides, **lengths)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("photos") / "album", each=12)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of noise in six frames."""
    root, random = tmp_path_factory.mktemp("clips") / "album", np.random.default_rng(0)
    for label in range(3):
        (root / f"class {label}").mkdir(parents=True)
        for number in range(12):
            np.save(root / f"class {label}/{number}.npy", random.integers(0, 256, (6, 16, 20, 3), np.uint8))
    return root


@pytest.fixture(scope="module", params=NAMES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> vitrail.Run:
    source = request.getfixturevalue(source_of(request.param))
    return vitrail.pretrain(source, recipe(request.param), out=tmp_path_factory.mktemp("runs") / request.param)


@pytest.fixture(scope="module")
def source(run: vitrail.Run, request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(source_of(run.path.name))
    return found


def source_of(name: str) -> str:
    """Name of the fixture with what an objective learns from."""
    return "clips" if objective_config(name).clips else "photos"


def outcome(path: Path) -> dict[str, bytes]:
    names = ("checkpoints/last/model.safetensors", "checkpoints/last/trainer.safetensors", "metrics.jsonl")
    return {name: (path / name).read_bytes() for name in (*names, "checkpoints/best/model.safetensors")}


def test_a_stopped_run_resumes_bit_for_bit_and_another_seed_differs(
    run: vitrail.Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, step = run.path.name, Trainer.step

    def stopped(self: Trainer, batches: Any) -> None:
        if self.counters.step == 2:
            raise KeyboardInterrupt
        step(self, batches)

    monkeypatch.setattr(Trainer, "step", stopped)
    with pytest.raises(KeyboardInterrupt):
        vitrail.pretrain(source, recipe(name), out=tmp_path / "stopped")
    monkeypatch.setattr(Trainer, "step", step)
    assert outcome(run.path) == outcome(vitrail.resume(tmp_path / "stopped").path)
    other = vitrail.pretrain(source, replace(recipe(name), seed=1), out=tmp_path / "other")
    weights = "checkpoints/last/model.safetensors"
    assert outcome(other.path)[weights] != outcome(run.path)[weights]


def test_the_result_is_embedded_explained_and_fine_tuned(run: vitrail.Run, source: Path, tmp_path: Path) -> None:
    checkpoint = run.checkpoint
    vectors = vitrail.embed(checkpoint, source).vectors
    assert vectors.shape == (36, 32)
    assert vectors.std(axis=0).min() > 0
    assert "How it learned" in (run.path / "report.html").read_text(encoding="utf-8")
    tuned = vitrail.train(
        source,
        replace(MASKED, objective=None, model=None, overrides={}, steps=1),
        task="video" if checkpoint.config.frames else None,
        weights=run.path,
        out=tmp_path / "tuned",
    )
    assert tuned.checkpoint.config.num_classes == 3
    torch.testing.assert_close(
        tuned.checkpoint.model.embed.patches.project.weight,
        checkpoint.model.embed.patches.project.weight,
        atol=2e-3,
        rtol=0,
    )


def test_the_teacher_is_what_dino_saves(run: vitrail.Run) -> None:
    if run.path.name != "dino":
        return
    assert DINOObjectiveConfig.quality == "last"
    best = run.checkpoint.model.state_dict()
    state = vitrail.checkpoint.native.read_tensors(run.path / "checkpoints/last/trainer.safetensors")[0]
    for name, tensor in best.items():
        assert torch.equal(tensor, state[f"objective.teacher.{name}"]), name


def test_the_report_shows_where_an_encoder_looks(run: vitrail.Run) -> None:
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert ("Where it looks" in page) == (run.path.name not in ("mae", "videomae"))
