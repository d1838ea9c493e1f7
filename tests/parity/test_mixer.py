"""MLP-Mixer against timm and the published sizes."""

from typing import Any

import numpy as np
import pytest
import timm
import torch
from timm.models.mlp_mixer import MlpMixer

import vitrail
from vitrail.models.mixer import VARIANTS
from vitrail.models.registry import model_config

from .references import assert_same, assert_same_inside, count, loaded, on_meta, randomise

NAME = "mixer_s16_224"
SMALL: dict[str, Any] = {"embed_dim": 48, "depth": 2, "num_classes": 9}
# Millions of parameters, table 1 of the paper; timm has no row for the last.
PUBLISHED = {"mixer_s32_224": 19, "mixer_b16_224": 59, "mixer_l16_224": 207, "mixer_h14_224": 431}


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "mixer_h14_224"])
def test_parameters_of_every_row(name: str) -> None:
    assert count(on_meta(lambda: vitrail.create_model(name))) == count(on_meta(lambda: timm.create_model(name)))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name: str) -> None:
    # The paper counts without the head.
    assert round(count(on_meta(lambda: vitrail.create_model(name, num_classes=0))) / 1e6) == PUBLISHED[name]


def reference(size: Any = 64, channels: int = 3) -> MlpMixer:
    return randomise(MlpMixer(9, img_size=size, in_chans=channels, num_blocks=2, embed_dim=48))


@pytest.mark.parametrize(("size", "channels"), [((64, 64), 3), ((48, 80), 1), ((32, 64), 4), ((64, 64), 13)])
def test_timm_at_any_size_with_any_channels(size: tuple[int, int], channels: int) -> None:
    theirs = reference(size, channels)
    config = model_config(NAME, image_size=size, in_channels=channels, **SMALL)
    assert_same(loaded(config, theirs), theirs, torch.randn(2, channels, *size))


def test_every_block() -> None:
    theirs = reference()
    pairs = {"encoder.blocks.0": "blocks.0", "encoder.blocks.1": "blocks.1", "encoder": "norm"}
    assert_same_inside(
        loaded(model_config(NAME, image_size=64, **SMALL), theirs), theirs, pairs, torch.randn(2, 3, 64, 64)
    )


def test_official_arrays() -> None:
    theirs = reference()
    arrays: dict[str, np.ndarray] = {}
    for key, tensor in theirs.state_dict().items():
        axes = {2: (1, 0), 4: (2, 3, 1, 0)}.get(tensor.ndim, (0,))
        arrays[flax_name(key)] = tensor.permute(axes).numpy()
    assert_same(loaded(model_config(NAME, image_size=64, **SMALL), arrays), theirs, torch.randn(2, 3, 64, 64))


def flax_name(key: str) -> str:
    *path, last = key.split(".")
    if path[0] == "blocks":
        layers = {"norm1": "LayerNorm_0", "norm2": "LayerNorm_1", "fc1": "Dense_0", "fc2": "Dense_1"}
        names = {**layers, "mlp_tokens": "token_mixing", "mlp_channels": "channel_mixing"}
        path = [f"MixerBlock_{path[1]}", *(names[part] for part in path[2:])]
    else:
        path = [{"stem": "stem", "norm": "pre_head_layer_norm", "head": "head"}[path[0]]]
    scale = "scale" if "orm" in path[-1] else "kernel"
    return "/".join([*path, {"weight": scale, "bias": "bias"}[last]])


def test_pictures_of_another_size_are_refused() -> None:
    model = vitrail.create_model(NAME, image_size=64, **SMALL)
    with pytest.raises(ValueError, match="4×6 tokens does not fit weights for 4×4"):
        model(torch.randn(1, 3, 64, 96))
