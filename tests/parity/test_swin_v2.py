"""Swin V2 against timm, transformers and torchvision."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
import transformers

import vitrail
from vitrail.checkpoint.contract import Checkpoint, save
from vitrail.data.preprocess import Preprocess
from vitrail.models.registry import model_config
from vitrail.models.swin_v2 import VARIANTS, SwinV2Config

from .references import assert_same, assert_same_inside, count, loaded, on_meta, randomise, stage_pairs

SMALL: dict[str, Any] = {"embed_dim": 24, "depths": (2, 2, 2), "num_heads": (1, 2, 4), "num_classes": 9}
NAME = "swinv2_tiny_window8_256"


# Liu et al. (2022), section 4.1; timm has neither.
PUBLISHED = {"swinv2_huge_window12_192": "0.658B", "swinv2_giant_window12_192": "3.0B"}


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in PUBLISHED])
def test_parameters_of_every_row(name: str) -> None:
    theirs = on_meta(lambda: timm.create_model(name, num_classes=1000))
    assert count(on_meta(lambda: vitrail.create_model(name))) == count(theirs)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_of_the_largest(name: str) -> None:
    digits = len(PUBLISHED[name]) - len("0.B")
    assert f"{count(on_meta(lambda: vitrail.create_model(name))) / 1e9:.{digits}f}B" == PUBLISHED[name]


def test_norms_of_the_main_branch() -> None:
    """Every second block norms all that it gives, not only what its branches give."""
    thin: dict[str, Any] = {**SMALL, "depths": (1, 4)}
    config = model_config(NAME, image_size=64, norm_every=2, **{**thin, "num_heads": (1, 2)})
    model = randomise(config.build()).double()
    norms = [name for name, _ in model.named_modules() if name.endswith("norm") and name.count(".") == 5]
    assert norms == [f"encoder.blocks.1.blocks.{block}.norm" for block in (1, 3)]
    inside = ["encoder.blocks.1.blocks.1.mlp", "encoder.blocks.1.blocks.1"]
    with vitrail.observe_features(model, *inside) as seen, torch.no_grad():
        model(torch.randn(2, 3, 64, 64).double())
    layer = model.get_submodule(norms[0]).layer
    before, after = (seen[name].x for name in inside)
    expected = (before - before.mean(2, keepdim=True)) / (before.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(after, expected * layer.weight + layer.bias, atol=1e-12)


@pytest.mark.parametrize("size", [(96, 160), (120, 92), (32, 32)])
def test_timm_at_any_size(size: tuple[int, int]) -> None:
    theirs = randomise(timm.create_model(NAME, img_size=size, **SMALL))
    assert_same(loaded(model_config(NAME, image_size=size, **SMALL), theirs), theirs, torch.randn(2, 3, *size))


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_timm_with_any_channels(channels: int) -> None:
    theirs = randomise(timm.create_model(NAME, img_size=64, in_chans=channels, **SMALL))
    config = model_config(NAME, image_size=64, in_channels=channels, **SMALL)
    assert_same(loaded(config, theirs), theirs, torch.randn(1, channels, 64, 64))


def test_windows_other_than_the_pretrained_ones() -> None:
    name = "swinv2_base_window12to16_192to256"
    theirs = randomise(timm.create_model(name, img_size=128, **SMALL))
    assert_same(loaded(model_config(name, image_size=128, **SMALL), theirs), theirs, torch.randn(1, 3, 128, 128))


def test_scores_at_the_limit_of_the_scale() -> None:
    theirs = randomise(timm.create_model(NAME, img_size=64, **SMALL))
    for key, parameter in theirs.named_parameters():
        if key.endswith("logit_scale"):
            parameter.data.fill_(5.0)  # above the limit, the logarithm of 100
    ours = loaded(model_config(NAME, image_size=64, **SMALL), theirs)
    pixels = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        assert (ours.double()(pixels) - theirs.double()(pixels)).abs().max() < 1e-10


def test_every_block_of_a_whole_model() -> None:
    thin: dict[str, Any] = {"embed_dim": 24, "num_heads": (1, 2, 4, 8)}
    theirs = randomise(timm.create_model(NAME, img_size=128, **thin))
    pairs = stage_pairs(VARIANTS[NAME].depths, "layers.{stage}.blocks.{block}")
    assert_same_inside(
        loaded(model_config(NAME, image_size=128, **thin), theirs), theirs, pairs, torch.randn(1, 3, 128, 128)
    )


@pytest.mark.parametrize("trained", [(0, 0), (6, 6)])
def test_transformers(tmp_path: Path, trained: tuple[int, int]) -> None:
    sizes = {"image_size": 128, "window_size": 8, "embed_dim": 24, "depths": [2, 2], "num_heads": [1, 2]}
    theirs = randomise(
        transformers.Swinv2ForImageClassification(
            transformers.Swinv2Config(num_labels=9, pretrained_window_sizes=list(trained), **sizes)
        )
    )
    config = SwinV2Config(
        image_size=128,
        embed_dim=24,
        depths=(2, 2),
        num_heads=(1, 2),
        num_classes=9,
        pretrained_window_sizes=trained,
    )
    pixels = torch.randn(2, 3, 128, 128)
    assert_same(loaded(config, theirs), theirs, pixels)
    theirs.float().save_pretrained(tmp_path)
    assert_same(vitrail.load(tmp_path).model, theirs, pixels)


def test_torchvision() -> None:
    swin = torchvision.models.swin_transformer
    theirs = swin.SwinTransformer(
        [4, 4],
        24,
        [2, 2],
        [1, 2],
        [8, 8],
        num_classes=9,
        block=swin.SwinTransformerBlockV2,
        downsample_layer=swin.PatchMergingV2,
    )
    randomise(theirs)
    for key, parameter in theirs.named_parameters():
        if key.endswith("qkv.bias"):
            parameter.data.unflatten(0, (3, -1))[1] = 0  # the biases of the keys: there, but unused
    config = SwinV2Config(image_size=128, embed_dim=24, depths=(2, 2), num_heads=(1, 2), num_classes=9)
    assert_same(loaded(config, theirs), theirs, torch.randn(2, 3, 128, 128))


def test_official_names() -> None:
    theirs = randomise(timm.create_model(NAME, img_size=64, **SMALL))
    state = {}
    for key, tensor in theirs.state_dict().items():
        name = key.replace("head.fc", "head")
        state[f"layers.{int(key[7]) - 1}{key[8:]}" if "downsample" in key else name] = tensor
    ours = model_config(NAME, image_size=64, **SMALL).build().eval()
    ours.load_state_dict(vitrail.convert_state_dict({"model": state}, ours))
    assert_same(ours, theirs, torch.randn(1, 3, 64, 64))


def test_a_larger_window_needs_no_other_tensors(tmp_path: Path) -> None:
    theirs = randomise(timm.create_model(NAME, img_size=64, **SMALL))
    save(Checkpoint(loaded(model_config(NAME, image_size=64, **SMALL), theirs), (), Preprocess()), tmp_path / "x")
    more: dict[str, Any] = {"window_size": 12, "pretrained_window_sizes": (8, 8, 4)}
    larger = timm.create_model(NAME, img_size=96, **SMALL, **more)
    larger.load_state_dict(theirs.state_dict())
    assert_same(vitrail.load(tmp_path / "x", image_size=96, **more).model, larger.eval(), torch.randn(1, 3, 96, 96))
