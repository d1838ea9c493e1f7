"""An objective of another package trains, resumes, is repeated from its recipe and is listed, with no line of ours."""

import shutil
from pathlib import Path

import pytest
import yaml
from tests.evaluation.small_checkpoint import write_classes
from tests.plugin_package import install

import vitrail
from vitrail.checkpoint.native import read_tensors
from vitrail.cli.main import main
from vitrail.objectives.registry import objective_names
from vitrail.training.loop import Trainer

PACKAGE = '''
"""Features that stay the same when noise is added to an image, and differ from a moving mean of all images."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from vitrail import ObjectiveConfig
from vitrail.objectives.objective import Loss, Objective


class Steady(Objective):
    def __init__(self, model, noise):
        super().__init__(model)
        self.noise = noise
        self.register_buffer("mean", torch.zeros(model.config.embed_dim))

    def forward(self, batch, moment):
        clean = self.features(batch.pixels)
        noisy = self.features(batch.pixels + self.noise * torch.randn_like(batch.pixels))
        self.seen = clean.detach().mean(0)
        parts = {"same": (clean - noisy).square().mean(), "spread": (1 - (clean - self.mean).square().mean()).relu()}
        return Loss(sum(parts.values()), parts)

    def features(self, pixels):
        return self.model.forward_features(pixels).x.mean(1)

    def after_step(self, moment):
        self.mean.lerp_(self.seen, 0.1)


@dataclass(frozen=True, kw_only=True)
class SteadyConfig(ObjectiveConfig):
    name: ClassVar[str] = "steady"
    noise: float = 0.1

    def build(self, model, labels):
        return Steady(model, self.noise)
'''
SIZES = "overrides={patch_size: 4, embed_dim: 16, num_heads: 2, depth: 1}"
CHANGES = (SIZES, "image_size=8", "batch_size=4", "steps=4", "precision=float32")


@pytest.fixture
def source(tmp_path, monkeypatch):
    (tmp_path / "package").mkdir()
    entry = "[vitrail.objectives]\nsteady = my_steady:SteadyConfig\n"
    install(monkeypatch, tmp_path / "package", "my_steady", PACKAGE, entry)
    return write_classes(tmp_path / "images", each=5)


def pretrain(*arguments: object) -> None:
    with pytest.raises(SystemExit) as end:
        main(["pretrain", *map(str, arguments)])
    assert not end.value.code


def state(run: Path) -> tuple[bytes, list[float]]:
    """The last weights, and the buffer that the objective keeps."""
    last = run / "checkpoints/last"
    kept = read_tensors(last / "trainer.safetensors")[0]["objective.mean"]
    return (last / "model.safetensors").read_bytes(), kept.tolist()


def test_it_trains_and_resumes_from_the_command_line(source, tmp_path, monkeypatch):
    assert "steady" in objective_names()
    options = ("--model", "vit_tiny_patch16_224", "--objective", "steady", "--set", *CHANGES, "objective.noise=0.2")
    pretrain(source, *options, "-o", tmp_path / "whole")
    recipe = yaml.safe_load((tmp_path / "whole/recipe.yaml").read_text())
    assert recipe["objective"] == {"name": "steady", "noise": 0.2}
    assert '"train_spread"' in (tmp_path / "whole/metrics.jsonl").read_text()
    assert any(state(tmp_path / "whole")[1])

    step = Trainer.step

    def stopped(self, batches):
        if self.counters.step == 2:
            raise KeyboardInterrupt
        step(self, batches)

    monkeypatch.setattr(Trainer, "step", stopped)
    with pytest.raises(SystemExit) as end:
        main(["pretrain", str(source), *options, "-o", str(tmp_path / "stopped")])
    assert end.value.code == 130
    monkeypatch.setattr(Trainer, "step", step)
    assert state(tmp_path / "stopped") != state(tmp_path / "whole")
    vitrail.resume(tmp_path / "stopped")
    assert state(tmp_path / "stopped") == state(tmp_path / "whole")

    pretrain(source, "--recipe", tmp_path / "whole", "-o", tmp_path / "again")
    assert state(tmp_path / "again") == state(tmp_path / "whole")


def test_an_unknown_option_and_a_package_that_is_gone_are_sentences(source, tmp_path, monkeypatch, capsys):
    for setting, sentence in (
        ("objective.noize=1", "objective steady has no field noize: did you mean noise"),
        ("objective.noise=loud", "objective.noise is 'loud', which does not fit: it takes float"),
    ):
        with pytest.raises(SystemExit) as end:
            main(["pretrain", str(source), "--objective", "steady", "--set", setting])
        assert end.value.code == 1
        assert sentence in capsys.readouterr().err
    options = ("--model", "vit_tiny_patch16_224", "--objective", "steady", "--set", *CHANGES)
    pretrain(source, *options, "-o", tmp_path / "run")
    shutil.rmtree(tmp_path / "package")
    with pytest.raises(vitrail.VitrailError, match="there is no objective 'steady'"):
        vitrail.resume(tmp_path / "run")
