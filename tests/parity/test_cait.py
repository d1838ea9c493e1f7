"""CaiT against timm."""

from typing import Any

import pytest
import timm
import torch

import vitrail
from vitrail.checkpoint.card import Card
from vitrail.checkpoint.foreign import from_state
from vitrail.models.cait import VARIANTS
from vitrail.models.registry import model_config

from .references import assert_same, assert_same_inside, count, loaded, on_meta, randomise

NAME = "cait_xxs24_224"
SMALL: dict[str, Any] = {"embed_dim": 48, "depth": 3, "num_classes": 9}


def pair(size: int | tuple[int, int], **more: Any) -> tuple[Any, Any]:
    """Ours and timm's, small, with the same random weights."""
    theirs = randomise(timm.create_model(NAME, img_size=size, in_chans=more.get("in_channels", 3), **SMALL))
    return loaded(model_config(NAME, image_size=size, **SMALL, **more), theirs), theirs


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    ours, theirs = on_meta(lambda: vitrail.create_model(name)), on_meta(lambda: timm.create_model(name))
    assert count(ours) == count(theirs)


@pytest.mark.parametrize("name", VARIANTS)
def test_initial_layer_scale_of_every_row(name: str) -> None:
    small: dict[str, Any] = {"embed_dim": 16, "depth": 1, "num_heads": 1}
    ours = vitrail.create_model(name, **small).encoder.blocks[0].blocks[0].mlp.scale.weight
    assert torch.equal(ours, timm.create_model(name, **small).blocks[0].gamma_2)


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_timm_at_any_size(size: tuple[int, int]) -> None:
    ours, theirs = pair(size)
    assert_same(ours, theirs, torch.randn(2, 3, *size))


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_timm_with_any_channels(channels: int) -> None:
    ours, theirs = pair(32, in_channels=channels)
    assert_same(ours, theirs, torch.randn(1, channels, 32, 32))


def test_every_block() -> None:
    ours, theirs = pair((64, 48))
    blocks = {f"encoder.blocks.0.blocks.{block}": f"blocks.{block}" for block in range(3)}
    inner = {
        f"encoder.blocks.1.blocks.{block}.attention.branch.attention": f"blocks_token_only.{block}.attn"
        for block in range(2)
    }
    assert_same_inside(ours, theirs, {**blocks, **inner, "encoder.norm": "norm"}, torch.randn(2, 3, 64, 48))


def test_sizes_are_seen_in_the_tensors() -> None:
    sizes: dict[str, Any] = {"embed_dim": 48, "depth": 1}
    theirs = timm.create_model(NAME, num_classes=9, img_size=48, **sizes)
    stored = from_state(theirs.state_dict(), Card(), NAME, sizes, origin="timm")
    assert stored.config == model_config(NAME, image_size=48, num_classes=9, **sizes)
