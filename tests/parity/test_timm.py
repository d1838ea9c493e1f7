"""Every row of the tables against timm, all parameters random."""

from typing import Any

import pytest
import torch
from timm.layers import resample_abs_pos_embed
from timm.models._manipulate import adapt_input_conv

import vitrail
from vitrail.checkpoint.adapt import inflate_channels
from vitrail.models.deit import DistilledDeiTConfig
from vitrail.models.families import families
from vitrail.models.registry import model_config
from vitrail.nn import Tokens, resample_positions

from .references import assert_same, sincos_by_loop, timm_twin, twins

ROWS = sorted(name for family in ("vit", "simple_vit", "deit") for name in families()[family].variants)


def affordable(name: str) -> dict[str, Any]:
    """Overrides that keep a row's widths, heads and patch, but not the cost of all its blocks."""
    config = model_config(name)
    if name == "vit_tiny_patch16_224":
        return {}
    large = config.embed_dim >= 512 or config.image_size // config.patch_size > 16
    return {"depth": 2, "image_size": 5 * config.patch_size if large else config.image_size}


def rows() -> list[Any]:
    """All rows; the wide ones, which take seconds each, are exhaustive."""
    wide = lambda name: model_config(name).embed_dim >= 1024  # noqa: E731
    return [pytest.param(name, marks=pytest.mark.exhaustive) if wide(name) else name for name in ROWS]


@pytest.mark.parametrize("name", rows())
def test_logits_of_every_row(name: str) -> None:
    config = model_config(name, num_classes=17, **affordable(name))
    ours, theirs = twins(config)
    size = config.image_size
    assert_same(ours, theirs, torch.randn(2 if size <= 128 else 1, 3, size, size))


@pytest.mark.parametrize("name", ROWS)
def test_parameters_of_every_row(name: str) -> None:
    with torch.device("meta"):
        ours, theirs = vitrail.create_model(name), timm_twin(model_config(name))
    expected = sum(parameter.numel() for parameter in theirs.parameters())
    if name.startswith("simple_vit"):
        expected -= theirs.pos_embed.numel()  # fixed in the paper, a parameter in timm
    assert sum(parameter.numel() for parameter in ours.parameters()) == expected


SMALL: dict[str, Any] = {"embed_dim": 64, "num_heads": 4, "depth": 2, "num_classes": 9}


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "deit3_small_patch16_224"])
@pytest.mark.parametrize("size", [(224, 320), (48, 112), (80, 80)])
@pytest.mark.parametrize("channels", [1, 4, 13])
def test_other_sizes_and_channels(name: str, size: tuple[int, int], channels: int) -> None:
    config = model_config(name, image_size=size, in_channels=channels, **SMALL)
    ours, theirs = twins(config)
    assert_same(ours, theirs, torch.randn(2, channels, *size))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "deit3_small_patch16_224"])
@pytest.mark.parametrize("size", [(224, 320), (112, 240), (208, 96)])
def test_a_model_takes_pictures_of_another_size_as_timm_does(name: str, size: tuple[int, int]) -> None:
    ours, theirs = twins(model_config(name, **SMALL), dynamic_img_size=True)
    assert_same(ours, theirs, torch.randn(1, 3, *size))


def test_padding_is_timms() -> None:
    config = model_config("vit_tiny_patch16_224", image_size=(64, 80), pad=True, **SMALL)
    ours, theirs = twins(config, dynamic_img_size=True)
    assert_same(ours, theirs, torch.randn(2, 3, 56, 72))


@pytest.mark.parametrize("new", [(14, 20), (5, 9), (24, 24), (1, 3)])
@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_positions_resample_as_timms(new: tuple[int, int], prefix: int) -> None:
    table = torch.randn(1, prefix + 7 * 9, 16)
    theirs = resample_abs_pos_embed(table, list(new), [7, 9], num_prefix_tokens=prefix)
    assert (resample_positions(table, (7, 9), new, prefix=prefix) - theirs).abs().max() <= 1e-6


@pytest.mark.parametrize("channels", [1, 2, 4, 13])
def test_first_convolution_inflates_as_timms(channels: int) -> None:
    weight = torch.randn(8, 3, 4, 4)
    assert (inflate_channels(weight, channels) - adapt_input_conv(channels, weight)).abs().max() < 1e-6


def test_sincos_table_is_big_visions() -> None:
    positions = vitrail.create_model("simple_vit_tiny_patch16_224", depth=1).embed.parts.positions
    got = positions(Tokens(torch.zeros(1, 3 * 5, 192, dtype=torch.float64), (3, 5))).x
    assert (got - sincos_by_loop(3, 5, 192)).abs().max() < 1e-7


def test_every_family_is_covered() -> None:
    kinds = {type(model_config(name)).__name__ for name in ROWS}
    assert kinds == {"ViTConfig", "SimpleViTConfig", DistilledDeiTConfig.__name__}
