"""BEiT and BEiT v2 against timm and transformers."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers

import vitrail
from vitrail.data.preprocess import Preprocess
from vitrail.models.beit import VARIANTS, BEiTConfig
from vitrail.models.registry import model_config

from .references import assert_same, assert_same_inside, count, loaded, on_meta, randomise

SMALL: dict[str, Any] = {"embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 9}


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    assert count(on_meta(lambda: vitrail.create_model(name))) == count(on_meta(lambda: timm.create_model(name)))


@pytest.mark.parametrize("name", ["beit_base_patch16_224", "beitv2_base_patch16_224"])
@pytest.mark.parametrize("size", [(64, 64), (80, 48), (16, 112)])
def test_timm_at_any_size(name: str, size: tuple[int, int]) -> None:
    theirs = randomise(timm.create_model(name, img_size=size, **SMALL))
    assert_same(loaded(model_config(name, image_size=size, **SMALL), theirs), theirs, torch.randn(2, 3, *size))


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_timm_with_any_channels(channels: int) -> None:
    theirs = randomise(timm.create_model("beit_base_patch16_224", img_size=64, in_chans=channels, **SMALL))
    config = BEiTConfig(image_size=64, in_channels=channels, **SMALL)
    assert_same(loaded(config, theirs), theirs, torch.randn(1, channels, 64, 64))


def test_every_block() -> None:
    theirs = randomise(timm.create_model("beit_base_patch16_224", img_size=96, **{**SMALL, "depth": 4}))
    ours = loaded(BEiTConfig(image_size=96, **{**SMALL, "depth": 4}), theirs)
    pairs = {f"encoder.blocks.{i}": f"blocks.{i}" for i in range(4)}
    assert_same_inside(ours, theirs, pairs, torch.randn(1, 3, 96, 96))


def test_transformers(tmp_path: Path) -> None:
    card = transformers.BeitConfig(
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=192,
        image_size=64,
        num_labels=9,
        use_relative_position_bias=True,
    )
    theirs = randomise(transformers.BeitForImageClassification(card))
    config = BEiTConfig(image_size=64, norm_eps=1e-12, **SMALL)
    for size in [(64, 64), (96, 48)]:  # the second resamples the tables
        assert_same(loaded(config, theirs.float()), theirs, torch.randn(2, 3, *size))
    theirs.float().save_pretrained(tmp_path)  # under the names of the files on the hub
    assert_same(vitrail.load(tmp_path).model, theirs, torch.randn(2, 3, 64, 64))


def test_another_size_resamples_the_tables(tmp_path: Path) -> None:
    model = vitrail.create_model("beit_base_patch16_224", image_size=64, **SMALL)
    randomise(model)
    vitrail.save(vitrail.Checkpoint(model, tuple("abcdefghi"), Preprocess()), tmp_path / "x")
    pixels = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        larger = vitrail.load(tmp_path / "x", image_size=96).model(pixels)
        assert torch.allclose(larger, model(pixels), atol=1e-5)
