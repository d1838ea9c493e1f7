"""Swin against timm, transformers and torchvision."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
import transformers

import vitrail
from vitrail.models.registry import model_config
from vitrail.models.swin import VARIANTS, SwinConfig

from .references import assert_same, assert_same_inside, count, loaded, on_meta, randomise, stage_pairs

SMALL: dict[str, Any] = {"embed_dim": 24, "depths": (2, 2, 2), "num_heads": (1, 2, 4), "num_classes": 9}


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    assert count(on_meta(lambda: vitrail.create_model(name))) == count(on_meta(lambda: timm.create_model(name)))


@pytest.mark.parametrize("size", [(224, 224), (224, 320), (120, 92), (56, 56)])
def test_timm_at_any_size(size: tuple[int, int]) -> None:
    theirs = randomise(timm.create_model("swin_tiny_patch4_window7_224", img_size=size, **SMALL))
    ours = loaded(model_config("swin_tiny_patch4_window7_224", image_size=size, **SMALL), theirs)
    assert_same(ours, theirs, torch.randn(2, 3, *size))


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_timm_with_any_channels(channels: int) -> None:
    theirs = randomise(timm.create_model("swin_tiny_patch4_window7_224", img_size=112, in_chans=channels, **SMALL))
    config = model_config("swin_tiny_patch4_window7_224", image_size=112, in_channels=channels, **SMALL)
    assert_same(loaded(config, theirs), theirs, torch.randn(1, channels, 112, 112))


def test_every_block_of_a_whole_model() -> None:
    name = "swin_tiny_patch4_window7_224"
    theirs = randomise(timm.create_model(name))
    ours = loaded(model_config(name), theirs)
    pairs = stage_pairs(VARIANTS[name].depths, "layers.{stage}.blocks.{block}")
    assert_same_inside(ours, theirs, pairs, torch.randn(1, 3, 224, 224))


def test_transformers(tmp_path: Path) -> None:
    sizes = {"image_size": 112, "embed_dim": 24, "depths": [2, 2], "num_heads": [1, 2], "num_labels": 9}
    theirs = randomise(transformers.SwinForImageClassification(transformers.SwinConfig(**sizes)))
    config = SwinConfig(image_size=112, embed_dim=24, depths=(2, 2), num_heads=(1, 2), num_classes=9)
    pixels = torch.randn(2, 3, 112, 112)
    assert_same(loaded(config, theirs), theirs, pixels)
    theirs.float().save_pretrained(tmp_path)  # under the names of the files on the hub
    assert_same(vitrail.load(tmp_path).model, theirs, pixels)


def test_torchvision() -> None:
    theirs = randomise(
        torchvision.models.swin_transformer.SwinTransformer([4, 4], 24, [2, 2], [1, 2], [7, 7], num_classes=9)
    )
    config = SwinConfig(image_size=112, embed_dim=24, depths=(2, 2), num_heads=(1, 2), num_classes=9)
    assert_same(loaded(config, theirs), theirs, torch.randn(2, 3, 112, 112))


def test_official_names() -> None:
    name = "swin_tiny_patch4_window7_224"
    theirs = randomise(timm.create_model(name, img_size=112, **SMALL))
    state = {
        key.replace("head.fc", "head"): tensor for key, tensor in theirs.state_dict().items() if "downsample" not in key
    } | {
        f"layers.{int(key[7]) - 1}{key[8:]}": tensor
        for key, tensor in theirs.state_dict().items()
        if "downsample" in key
    }
    ours = model_config(name, image_size=112, **SMALL).build().eval()
    ours.load_state_dict(vitrail.convert_state_dict({"model": state}, ours))
    assert_same(ours, theirs, torch.randn(1, 3, 112, 112))
