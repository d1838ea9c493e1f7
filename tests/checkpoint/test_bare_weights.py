"""Bare weights, whose tensors leave open what a configuration file would state."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import vitrail
from vitrail.checkpoint.contract import load
from vitrail.errors import VitrailError
from vitrail.models.dinov3 import DINOv3Config
from vitrail.nn import joined

NARROW: dict[str, Any] = {"embed_dim": 48, "depth": 1, "num_heads": 3}


@pytest.mark.parametrize("name", ["beit_base_patch16_224", "levit_128s", "mixer_s32_224"])
def test_weights_of_another_size_without_a_table_of_positions(name: str, tmp_path: Path) -> None:
    """The size that is given is that of the weights where only it fits them, and else the one to adapt to."""
    narrow: dict[str, Any] = NARROW if name.startswith("beit") else {}
    model = vitrail.create_model(name, image_size=64, num_classes=4, **narrow).eval()
    save_file(vitrail.export_state_dict(model, "timm"), tmp_path / "x.safetensors")
    found = load(tmp_path / "x.safetensors", architecture=name, image_size=64, **narrow)
    assert "the weights were taken as those of images of 64×64" in found.info["adapted"]
    pixels = torch.randn(1, 3, 64, 64)
    assert torch.equal(joined(found.model(pixels)), joined(model(pixels)))
    with pytest.raises(VitrailError, match="of a wrong shape"):
        load(tmp_path / "x.safetensors", architecture=name, image_size=128, **narrow)


def test_the_pool_of_bare_weights_of_dinov3_is_said(tmp_path: Path) -> None:
    model = vitrail.create_model("vit_small_patch16_dinov3", **NARROW, num_classes=4).eval()
    save_file(vitrail.export_state_dict(model, "timm"), tmp_path / "x.safetensors")
    assert 'pool "mean" assumed' in " ".join(load(tmp_path / "x.safetensors", num_heads=3).info["adapted"])
    given = load(tmp_path / "x.safetensors", num_heads=3, pool="class")
    assert isinstance(given.config, DINOv3Config)
    assert given.config.pool == "class"
