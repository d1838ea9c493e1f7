"""The smallest row of every family: forward, backward, other sizes, channels, compile, export, save, load."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import vitrail
from vitrail.checkpoint.contract import Checkpoint, load, save
from vitrail.data.preprocess import Preprocess
from vitrail.nn.model import VisionModel

SMALLEST: dict[str, dict[str, Any]] = {
    "vit_tiny_patch32_224": {"image_size": 64, "depth": 2},
    "simple_vit_tiny_patch16_224": {"image_size": 64, "depth": 2},
    "deit_tiny_distilled_patch16_224": {"image_size": 64, "depth": 2},
    "deit3_small_patch16_224": {"image_size": 64, "depth": 2},
    "compact_tiny_16": {"depth": 2},
}
ROWS = pytest.mark.parametrize("name", SMALLEST)


def build(name: str, **overrides: Any) -> VisionModel:
    return vitrail.create_model(name, num_classes=5, **{**SMALLEST[name], **overrides})


def pixels(model: VisionModel, batch: int = 2) -> torch.Tensor:
    size = model.config.image_size
    height, width = (size, size) if isinstance(size, int) else size
    return torch.randn(batch, model.config.in_channels, height, width)


@ROWS
def test_forward_and_backward_reach_every_parameter(name: str) -> None:
    model = build(name, drop_path=0.3, dropout=0.1)
    logits = model(pixels(model, batch=8))
    assert logits.shape == (8, 5)
    logits.logsumexp(dim=1).sum().backward()
    assert not [key for key, value in model.named_parameters() if value.grad is None]


@ROWS
@pytest.mark.parametrize("size", [(64, 96), (32, 160)])
@pytest.mark.parametrize("channels", [1, 4])
def test_other_sizes_and_channels(name: str, size: tuple[int, int], channels: int) -> None:
    model = build(name, in_channels=channels).eval()
    assert model(torch.randn(2, channels, *size)).shape == (2, 5)
    assert build(name, in_channels=channels, image_size=size)(torch.randn(2, channels, *size)).shape == (2, 5)


def test_compiles_as_one_graph() -> None:
    script = Path(__file__).with_name("compiled.py")
    subprocess.run([sys.executable, script, json.dumps(SMALLEST)], check=True)


@ROWS
def test_exports_with_any_batch(name: str) -> None:
    model = build(name).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(model, (pixels(model),), dynamic_shapes=({0: batch},)).module()
    images = pixels(model, batch=5)
    with torch.no_grad():
        assert torch.allclose(exported(images), model(images), atol=1e-6)


@ROWS
def test_saves_and_loads(name: str, tmp_path: Path) -> None:
    model = build(name).eval()
    save(Checkpoint(model, tuple("abcde"), Preprocess()), tmp_path / "x")
    images = pixels(model)
    assert torch.equal(load(tmp_path / "x").model(images), model(images))


@ROWS
def test_the_config_rebuilds_the_model(name: str) -> None:
    model = build(name)
    again = model.config.build()
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}
