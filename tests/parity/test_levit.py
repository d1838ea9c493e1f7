"""LeViT against timm and transformers."""

import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers
from torch import nn

import vitrail
from vitrail.checkpoint.contract import Checkpoint, save
from vitrail.data.preprocess import Preprocess
from vitrail.models.levit import VARIANTS, LeViTConfig
from vitrail.models.registry import model_config
from vitrail.nn import joined

from .references import (
    assert_same,
    assert_same_inside,
    check_round_trip,
    count,
    loaded,
    on_meta,
    randomise,
    saved,
    stage_pairs,
)

NAME = "levit_128s"
SMALL: dict[str, Any] = {"num_heads": (2, 3, 4), "num_classes": 9}


def pair(size: int | tuple[int, int], name: str = NAME, channels: int = 3) -> tuple[nn.Module, nn.Module]:
    """Ours and timm's, small, with the same random weights."""
    theirs = timm.create_model(name, img_size=size, in_chans=channels, embed_dim=(32, 48, 64), depth=(2, 3, 4), **SMALL)
    config = model_config(NAME, image_size=size, in_channels=channels, embed_dims=(32, 48, 64), **SMALL)
    return loaded(config, randomise(theirs)), theirs


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    ours, theirs = on_meta(lambda: vitrail.create_model(name)), on_meta(lambda: timm.create_model(name))
    assert count(ours) == count(theirs)


@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
def test_timm_at_any_size(size: tuple[int, int]) -> None:
    ours, theirs = pair(size)
    assert_same(ours, theirs, torch.randn(2, 3, *size))


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_timm_with_any_channels(channels: int) -> None:
    ours, theirs = pair(64, channels=channels)
    assert_same(ours, theirs, torch.randn(1, channels, 64, 64))


def test_timm_as_convolutions() -> None:
    ours, theirs = pair(64, "levit_conv_128s")
    assert_same(ours, theirs, torch.randn(2, 3, 64, 64))


def test_every_block() -> None:
    ours, theirs = pair(128)
    pairs = stage_pairs((2, 3, 4), "stages.{stage}.blocks.{block}")
    pairs |= {f"encoder.blocks.{stage}.reduce": f"stages.{stage}.downsample" for stage in (1, 2)}
    assert_same_inside(ours, theirs, pairs, torch.randn(2, 3, 128, 128))


@pytest.mark.parametrize(("depths", "teacher"), [((2, 3, 4), False), ((4, 4, 4), True)])
def test_transformers(tmp_path: Path, depths: tuple[int, ...], teacher: bool) -> None:
    kind = transformers.LevitForImageClassificationWithTeacher if teacher else transformers.LevitForImageClassification
    sizes = {"hidden_sizes": [32, 48, 64], "num_attention_heads": [2, 3, 4], "depths": list(depths)}
    theirs = randomise(kind(transformers.LevitConfig(image_size=64, num_labels=9, **sizes)))
    config = LeViTConfig(
        image_size=64, embed_dims=(32, 48, 64), num_heads=(2, 3, 4), depths=depths, num_classes=9, distilled=teacher
    )
    pixels = torch.randn(2, 3, 64, 64)
    assert_same(loaded(config, theirs), theirs, pixels)
    assert_same(saved(theirs, config, tmp_path), theirs, pixels)


def test_official_names() -> None:
    """All blocks, and what shrinks, stand in one list: the first stage's are 0 to 3, 4 and 5 shrink, and so on."""
    ours, theirs = pair(64)
    theirs.float()
    words = {"linear": "c", "proj.ln": "proj.1", "q.ln": "q.1", "ln1": "0", "ln2": "2", "head_dist.c": "head_dist.l"}
    state = {}
    for key, tensor in theirs.state_dict().items():
        match = re.match(r"stages.(\d).(blocks.(\d).(attn|mlp)|downsample.(attn_downsample|mlp)).", key)
        if match:
            start, before = (0, 6, 14)[int(match[1])], (0, 4, 12)[int(match[1])]
            where = start + 2 * int(match[3]) + (match[4] == "mlp") if match[3] else before + (match[5] == "mlp")
            shrinks = match[5] == "attn_downsample"
            key = f"blocks.{where}.{'' if shrinks else 'm.'}{key[match.end() :]}"
        key = re.sub(r"stem.conv(\d)", lambda found: f"patch_embed.{2 * int(found[1]) - 2}", key)
        for word, other in {**words, "head.c": "head.l"}.items():
            key = key.replace(word, other)
        state[key] = tensor
    ours.load_state_dict(vitrail.convert_state_dict({"model": state}, ours))
    assert_same(ours, theirs, torch.randn(1, 3, 64, 64))
    check_round_trip(state)


def test_other_classes_and_another_size(tmp_path: Path) -> None:
    model, _ = pair(64)
    save(Checkpoint(model, (), Preprocess()), tmp_path / "x")
    larger = vitrail.load(tmp_path / "x", image_size=96).model
    pixels = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        assert torch.allclose(joined(larger(pixels)), joined(model(pixels)), atol=1e-5)  # resampled once, or each time
    fresh = vitrail.load(tmp_path / "x", num_classes=4).model
    assert joined(fresh(pixels)).shape == (2, 4)
    assert torch.equal(fresh.head.distill.norm.running_var, torch.ones(64))
