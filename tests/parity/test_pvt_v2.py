"""PVT v2 against timm and transformers."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers
from torch import Tensor

import vitrail
from vitrail.models.pvt_v2 import VARIANTS, PVTv2Config
from vitrail.models.registry import model_config

from .references import assert_same, assert_same_inside, count, loaded, on_meta, randomise, stage_pairs

SMALL: dict[str, Any] = {"embed_dims": (8, 16, 24, 32), "depths": (1, 2, 1, 1), "num_heads": (1, 2, 3, 4)}
NAMES = pytest.mark.parametrize("name", ["pvt_v2_b0", "pvt_v2_b2_li"])


def theirs_and_ours(name: str, size: tuple[int, int] = (64, 64), channels: int = 3) -> tuple[Any, Any]:
    theirs = randomise(timm.create_model(name, in_chans=channels, num_classes=9, **SMALL))
    config = model_config(name, image_size=size, in_channels=channels, num_classes=9, **SMALL)
    return theirs, loaded(config, theirs)


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    assert count(on_meta(lambda: vitrail.create_model(name))) == count(on_meta(lambda: timm.create_model(name)))


@NAMES
@pytest.mark.parametrize("size", [(64, 64), (96, 160), (90, 75)])
def test_timm_at_any_size(name: str, size: tuple[int, int]) -> None:
    theirs, ours = theirs_and_ours(name, size)
    assert_same(ours, theirs, torch.randn(2, 3, *size))


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_timm_with_any_channels(channels: int) -> None:
    theirs, ours = theirs_and_ours("pvt_v2_b0", channels=channels)
    assert_same(ours, theirs, torch.randn(1, channels, 64, 64))


@pytest.mark.parametrize(("name", "side"), [("pvt_v2_b0", 224), ("pvt_v2_b2_li", 64)])
def test_every_block_of_a_whole_model(name: str, side: int) -> None:
    theirs = randomise(timm.create_model(name))
    ours = loaded(model_config(name), theirs)
    pairs = stage_pairs(VARIANTS[name].depths, "stages.{stage}.blocks.{block}") | {
        f"encoder.blocks.{stage}": f"stages.{stage}:BCHW" for stage in range(4)
    }
    assert_same_inside(ours, theirs, pairs, torch.randn(1, 3, side, side))


@pytest.mark.parametrize("pooled", [False, True])
def test_transformers(pooled: bool, tmp_path: Path) -> None:
    theirs = randomise(
        transformers.PvtV2ForImageClassification(
            transformers.PvtV2Config(
                image_size=64,
                hidden_sizes=SMALL["embed_dims"],
                depths=SMALL["depths"],
                num_attention_heads=SMALL["num_heads"],
                linear_attention=pooled,
                num_labels=9,
            )
        )
    )
    config = PVTv2Config(image_size=64, num_classes=9, pooled=pooled, conv_norm_eps=1e-6, **SMALL)
    pixels = torch.randn(2, 3, 64, 96)
    assert_same(loaded(config, theirs), theirs, pixels)
    theirs.float().save_pretrained(tmp_path)
    assert_same(vitrail.load(tmp_path).model, theirs, pixels)


def test_official_names() -> None:
    theirs, _ = theirs_and_ours("pvt_v2_b0")
    ours = loaded(model_config("pvt_v2_b0", num_classes=9, **SMALL), official(theirs))
    assert_same(ours, theirs, torch.randn(1, 3, 64, 64))


def official(theirs: torch.nn.Module) -> dict[str, Tensor]:
    """timm's tensors under the names of the official release: stages are counted from 1, and have no common prefix."""
    state = {}
    for name, tensor in theirs.state_dict().items():
        name = name.replace("mlp.dwconv", "mlp.dwconv.dwconv").replace("patch_embed.", "patch_embed1.")
        for stage in range(4):
            name = name.replace(f"stages.{stage}.downsample", f"patch_embed{stage + 1}")
            name = name.replace(f"stages.{stage}.blocks", f"block{stage + 1}")
            name = name.replace(f"stages.{stage}.norm", f"norm{stage + 1}")
        state[name] = tensor
    return state
