"""ConvNeXt and ConvNeXt V2 against timm, transformers, torchvision and the official names."""

import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
import transformers
from timm.models.convnext import ConvNeXt
from torch import nn
from torchvision.models.convnext import CNBlockConfig

import vitrail
from vitrail.models.convnext import VARIANTS, ConvNeXtConfig
from vitrail.models.registry import model_config

from .references import assert_same, assert_same_inside, count, loaded, on_meta, randomise, saved, stage_pairs

DEPTHS = (1, 2, 1, 1)
SMALL: dict[str, Any] = {"embed_dim": 4, "depths": DEPTHS, "num_classes": 9}
VERSIONS = pytest.mark.parametrize("second", [False, True])


def ours(second: bool, **more: Any) -> ConvNeXtConfig:
    return model_config("convnextv2_tiny" if second else "convnext_tiny", **{**SMALL, **more})


def reference(second: bool, channels: int = 3, *, conv_mlp: bool = False) -> nn.Module:
    version = {"use_grn": True, "ls_init_value": None} if second else {}
    sizes = {"dims": (4, 8, 16, 32), "depths": DEPTHS, "num_classes": 9, "in_chans": channels}
    return randomise(ConvNeXt(**sizes, **version, conv_mlp=conv_mlp))


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    assert count(on_meta(lambda: vitrail.create_model(name))) == count(on_meta(lambda: timm.create_model(name)))


@VERSIONS
@pytest.mark.parametrize(("size", "channels"), [((64, 64), 3), ((32, 64), 1), ((76, 52), 4), ((32, 32), 13)])
def test_timm_at_any_size_with_any_channels(second: bool, size: tuple[int, int], channels: int) -> None:
    theirs = reference(second, channels)
    config = ours(second, image_size=size, in_channels=channels)
    assert_same(loaded(config, theirs), theirs, torch.randn(2, channels, *size))


@VERSIONS
def test_timm_with_convolutions_for_linear_layers(second: bool) -> None:
    theirs = reference(second, conv_mlp=True)
    assert_same(loaded(ours(second), theirs), theirs, torch.randn(2, 3, 64, 64))


@VERSIONS
def test_every_block(second: bool) -> None:
    theirs = reference(second)
    pairs = stage_pairs(DEPTHS, "stages.{stage}.blocks.{block}:BCHW")
    assert_same_inside(loaded(ours(second), theirs), theirs, pairs, torch.randn(2, 3, 32, 64))


def test_the_norms_of_the_largest_row() -> None:
    theirs = on_meta(lambda: timm.create_model("convnext_xxlarge"))
    mine = on_meta(lambda: vitrail.create_model("convnext_xxlarge"))
    assert {m.eps for m in mine.modules() if isinstance(m, nn.LayerNorm)} == {
        m.eps for m in theirs.modules() if isinstance(m, nn.LayerNorm)
    }


@VERSIONS
def test_transformers(second: bool, tmp_path: Path) -> None:
    sizes = {"hidden_sizes": [4, 8, 16, 32], "depths": list(DEPTHS), "num_labels": 9, "image_size": 64}
    if second:
        theirs = transformers.ConvNextV2ForImageClassification(transformers.ConvNextV2Config(**sizes))
    else:
        theirs = transformers.ConvNextForImageClassification(transformers.ConvNextConfig(**sizes))
    randomise(theirs)
    pixels = torch.randn(2, 3, 64, 64)
    assert_same(loaded(ours(second, image_size=64, head_norm_eps=1e-12), theirs), theirs, pixels)
    assert_same(saved(theirs, ours(second, image_size=64, head_norm_eps=1e-12), tmp_path), theirs, pixels)


def test_torchvision() -> None:
    widths = [4, 8, 16, 32]
    stages = [CNBlockConfig(a, b, n) for a, b, n in zip(widths, [*widths[1:], None], DEPTHS, strict=True)]
    theirs = randomise(torchvision.models.convnext.ConvNeXt(stages, num_classes=9))
    assert_same(loaded(ours(False), theirs), theirs, torch.randn(2, 3, 32, 64))


@VERSIONS
def test_official_names(second: bool) -> None:
    theirs = reference(second)
    state = {official_name(key): tensor for key, tensor in theirs.state_dict().items()}
    state = {key: tensor[None, None, None] if "grn" in key else tensor for key, tensor in state.items()}
    assert_same(loaded(ours(second), {"model": state}), theirs, torch.randn(1, 3, 64, 64))


def official_name(key: str) -> str:
    for pattern, name in {
        r"^stem\.": "downsample_layers.0.",
        r"stages\.(\d)\.downsample": r"downsample_layers.\1",
        r"\.blocks": "",
        "conv_dw": "dwconv",
        r"mlp\.fc": "pwconv",
        r"mlp\.grn\.weight": "grn.gamma",
        r"mlp\.grn\.bias": "grn.beta",
        r"head\.fc": "head",
        r"head\.norm": "norm",
    }.items():
        key = re.sub(pattern, name, key)
    return key


def test_pictures_too_small_for_the_stages_are_refused() -> None:
    with pytest.raises(ValueError, match="a grid of 1×2 tokens cannot be reduced by 2"):
        vitrail.create_model("convnext_tiny", **SMALL)(torch.randn(1, 3, 16, 32))
