"""Swin and Swin V2, built for one size and called with others, against timm, torchvision and transformers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
import transformers
from timm.layers import resize_rel_pos_bias_table
from timm.models import beit
from torch import nn

from vitrail.checkpoint.contract import Checkpoint, load, save
from vitrail.data.preprocess import Preprocess
from vitrail.models.registry import model_config
from vitrail.models.swin import SwinConfig, WindowPyramid
from vitrail.models.swin_v2 import SwinV2Config
from vitrail.nn import LocalAttention, MultiHeadAttention, Tokens, resample_offsets

from .references import assert_same, loaded, randomise

SMALL: dict[str, Any] = {"embed_dim": 24, "depths": (2, 2), "num_heads": (1, 2), "num_classes": 9}
V1, V2 = SwinConfig(image_size=56, **SMALL), SwinV2Config(image_size=64, **SMALL)
# Multiples of the last window, in which the last stage has one window at build and four here; and others.
SIZES = {V1: [(56, 56), (112, 112), (56, 112), (80, 96)], V2: [(64, 64), (128, 128), (64, 128), (96, 80)]}
CASES = [pytest.param(config, size, id=f"{type(config).__name__}-{size}") for config in SIZES for size in SIZES[config]]


def with_torchvision(config: WindowPyramid) -> nn.Module:
    swin = torchvision.models.swin_transformer
    second = {"block": swin.SwinTransformerBlockV2, "downsample_layer": swin.PatchMergingV2}
    window = [config.window_size] * 2
    more = second if isinstance(config, SwinV2Config) else {}
    model = randomise(swin.SwinTransformer([4, 4], 24, [2, 2], [1, 2], window, num_classes=9, **more))
    for key, parameter in model.named_parameters():
        if key.endswith("qkv.bias") and more:
            parameter.data.unflatten(0, (3, -1))[1] = 0  # the biases of the keys: there, but unused
    return model


@pytest.mark.parametrize(("config", "size"), CASES)
def test_torchvision(config: WindowPyramid, size: tuple[int, int]) -> None:
    theirs = with_torchvision(config)
    assert_same(loaded(replace(config, pad_first=True), theirs), theirs, torch.randn(1, 3, *size))


@pytest.mark.parametrize(("config", "size"), CASES)
def test_timm(config: WindowPyramid, size: tuple[int, int]) -> None:
    name = "swinv2_tiny_window8_256" if isinstance(config, SwinV2Config) else "swin_tiny_patch4_window7_224"
    theirs = randomise(timm.create_model(name, img_size=config.image_size, **SMALL))
    ours = loaded(config, theirs)
    theirs.set_input_size(size, window_size=config.window_size)
    assert_same(ours, theirs, torch.randn(1, 3, *size))


# Where one axis is a single window, transformers shifts neither axis; the others shift the longer one.
@pytest.mark.parametrize("size", [(56, 56), (112, 112), (80, 96)])
def test_transformers(size: tuple[int, int]) -> None:
    sizes = {"image_size": 56, "embed_dim": 24, "depths": [2, 2], "num_heads": [1, 2], "num_labels": 9}
    theirs = randomise(transformers.SwinForImageClassification(transformers.SwinConfig(**sizes)))
    assert_same(loaded(replace(V1, pad_first=True), theirs), theirs, torch.randn(1, 3, *size))


@pytest.mark.parametrize("pad_first", [False, True])
@pytest.mark.parametrize("grid", [(8, 4), (4, 4), (3, 4), (9, 5)])
def test_only_axes_longer_than_the_window_are_shifted(grid: tuple[int, int], pad_first: bool) -> None:
    attention = LocalAttention(MultiHeadAttention(8, 2), window=(4, 4), shift=(2, 2), pad_first=pad_first)
    x = torch.randn(2, grid[0] * grid[1], 8)
    moved = attention.moved(x.unflatten(1, grid))
    assert (attention.mask(moved) is None) == (max(grid) <= 4)
    places = attention.places_of(Tokens(x, grid)).keys
    assert sorted(int(place) for place in places.flatten() if place >= 0) == list(range(grid[0] * grid[1]))
    if grid[0] > 4 and not pad_first:
        assert int(places[0, 0]) == 2 * grid[1] + (2 if grid[1] > 4 else 0)


@pytest.mark.filterwarnings("ignore")  # of timm's own code
@pytest.mark.parametrize("old", [(1, 1), (7, 7), (5, 5), (12, 12)])
@pytest.mark.parametrize("new", [(12, 12), (6, 9), (24, 24), (2, 3)])
@pytest.mark.parametrize("extra", [0, 3])
def test_tables_of_offsets_are_resampled_as_in_timm(old: tuple[int, int], new: tuple[int, int], extra: int) -> None:
    table = torch.randn((2 * old[0] - 1) * (2 * old[1] - 1) + extra, 4)
    shape = ((2 * new[0] - 1) * (2 * new[1] - 1) + extra, 4)
    if old == (1, 1):
        assert torch.equal(resample_offsets(table, old, old), table)
        return
    theirs = resize_rel_pos_bias_table(table, new, shape, old_window_size=old)
    assert (resample_offsets(table, old, new) - theirs).abs().max() < 1e-4


@pytest.mark.filterwarnings("ignore")  # of timm's own code
def test_a_swin_with_another_window_is_timms(tmp_path: Path) -> None:
    theirs = randomise(timm.create_model("swin_tiny_patch4_window7_224", img_size=56, **SMALL))
    save(Checkpoint(loaded(V1, theirs), (), Preprocess(image_size=(56, 56))), tmp_path)
    theirs.set_input_size((64, 64), window_size=8)
    checkpoint = load(tmp_path, image_size=64, window_size=8)
    assert "(geometric, as timm)" in " ".join(checkpoint.info["adapted"])
    assert_same(checkpoint.model, theirs, torch.randn(1, 3, 64, 64), double=1e-5)


@pytest.mark.filterwarnings("ignore")  # of timm's own code
def test_a_beit_of_another_size_is_timms(tmp_path: Path) -> None:
    sizes = {"embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 9}
    theirs = randomise(timm.create_model("beit_base_patch16_224", img_size=64, **sizes))
    config = model_config("beit_base_patch16_224", image_size=64, **sizes)
    save(Checkpoint(loaded(config, theirs), (), Preprocess(image_size=(64, 64))), tmp_path)
    larger = timm.create_model("beit_base_patch16_224", img_size=(96, 128), **sizes).eval()
    larger.load_state_dict(beit.checkpoint_filter_fn(theirs.state_dict(), larger))
    assert_same(load(tmp_path, image_size=(96, 128)).model, larger, torch.randn(1, 3, 96, 128), double=1e-5)
