"""ViT with a convolutional stem against torchvision, and the paper's sizes."""

from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models.vision_transformer import ConvStemConfig, VisionTransformer

import vitrail
from vitrail.models.vitc import VARIANTS, ViTCConfig

from .references import assert_same, assert_same_inside, count, loaded, on_meta, randomise

STEM = ((8, 2), (16, 1), (32, 2))
SMALL: dict[str, Any] = {"stem": STEM, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 9, "norm_eps": 1e-6}
# Millions of parameters, table 2 of the paper.
PUBLISHED = {"vitc_1gf": 4.6, "vitc_4gf": 17.8, "vitc_18gf": 81.6, "vitc_36gf": 167.8}


def torchvision_model(config: ViTCConfig, patch_size: int) -> VisionTransformer:
    return VisionTransformer(
        image_size=config.image_size,
        patch_size=patch_size,
        num_layers=config.depth,
        num_heads=config.num_heads,
        hidden_dim=config.embed_dim,
        mlp_dim=int(config.embed_dim * config.mlp_ratio),
        num_classes=config.num_classes,
        conv_stem_configs=[ConvStemConfig(width, 3, stride) for width, stride in config.stem],
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    total = count(on_meta(lambda: vitrail.create_model(name)))
    assert total == count(on_meta(lambda: torchvision_model(VARIANTS[name], 16)))
    assert round(total / 1e6, 1) == PUBLISHED[name]


@pytest.mark.parametrize(("size", "channels"), [(32, 3), (48, 1), (20, 4), (32, 13)])
def test_torchvision_at_any_size_with_any_channels(size: int, channels: int) -> None:
    config = ViTCConfig(image_size=size, in_channels=channels, **SMALL)
    theirs = torchvision_model(config, 4)
    theirs.conv_proj[0][0] = nn.Conv2d(channels, 8, 3, stride=2, padding=1, bias=False)
    randomise(theirs)
    assert_same(loaded(config, theirs), theirs, torch.randn(2, channels, size, size))


def test_every_block() -> None:
    config = ViTCConfig(image_size=32, **SMALL)
    theirs = randomise(torchvision_model(config, 4))
    pairs = {f"encoder.blocks.{index}": f"encoder.layers.encoder_layer_{index}" for index in range(2)}
    assert_same_inside(loaded(config, theirs), theirs, pairs, torch.randn(2, 3, 32, 32))
