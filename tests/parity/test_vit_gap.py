"""ViTs without class token against timm."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

import vitrail
from vitrail.models.registry import model_config
from vitrail.models.vit_gap import VARIANTS

from .references import assert_same, count, loaded, on_meta, randomise

SMALL: dict[str, Any] = {"embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 9}
# One row of every kind: norm in the encoder or after the mean, registers with and without positions.
KINDS = [
    "vit_medium_patch16_gap_256",
    "vit_base_patch16_gap_224",
    "vit_little_patch16_reg4_gap_256",
    "vit_base_patch16_reg4_gap_256",
    "vit_so150m_patch16_reg4_gap_256",
    "vit_so150m_patch16_reg4_map_256",
    "vit_so150m2_patch16_reg1_gap_256",
]


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    ours = on_meta(lambda: vitrail.create_model(name))
    assert count(ours) == count(on_meta(lambda: timm.create_model(name, num_classes=1000, weight_init="skip")))
    assert ours.config.image_size == timm.get_pretrained_cfg(name).input_size[1]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_timm(name: str, size: tuple[int, int]) -> None:
    theirs = randomise(timm.create_model(name, img_size=size, **SMALL))
    ours = loaded(model_config(name, image_size=size, **SMALL), theirs)
    assert_same(ours, theirs, torch.randn(2, 3, *size))


@pytest.mark.parametrize("name", KINDS)
def test_a_folder_and_a_bare_file(name: str, tmp_path: Path) -> None:
    theirs = randomise(timm.create_model(name, img_size=64, **SMALL))
    timm.models._hub.save_for_hf(theirs, tmp_path, safe_serialization=True)
    pixels = torch.randn(2, 3, 64, 64)
    assert_same(vitrail.load(tmp_path).model, theirs, pixels)
    save_file(theirs.float().state_dict(), tmp_path / "x.safetensors")
    bare = vitrail.load(tmp_path / "x.safetensors", num_heads=3, image_size=64)
    assert_same(bare.model, theirs, pixels)
    assert "activation gelu assumed" in " ".join(bare.info["adapted"])
