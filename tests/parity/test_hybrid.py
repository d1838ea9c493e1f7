"""Hybrid ViTs against timm, their official arrays read by timm's own loader."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from timm.layers import HybridEmbed
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import _resnetv2
from torch import Tensor, nn

import vitrail
from vitrail.checkpoint.convert.hybrid import LAYOUTS
from vitrail.checkpoint.convert.rename import to_theirs
from vitrail.models.hybrid import VARIANTS, HybridViTConfig
from vitrail.nn import HybridPatchEmbed

from .references import assert_same, assert_same_inside, count, loaded, on_meta, randomise

SMALL: dict[str, Any] = {"embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 9}


def reference(
    depths: tuple[int, ...], size: tuple[int, int] = (64, 64), channels: int = 3, patch_size: int = 1
) -> VisionTransformer:
    embed = partial(HybridEmbed, backbone=_resnetv2(depths, in_chans=channels))
    sizes = {"img_size": size, "in_chans": channels, "patch_size": patch_size}
    return randomise(VisionTransformer(embed_layer=embed, **sizes, **SMALL))


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    theirs = on_meta(lambda: timm.create_model(name, num_classes=1000))
    assert count(on_meta(lambda: vitrail.create_model(name))) == count(theirs)


@pytest.mark.parametrize(
    ("depths", "size", "channels"),
    [((1, 2, 1), (32, 64), 3), ((1, 1), (40, 24), 1), ((1,), (33, 47), 4), ((), (32, 32), 13)],
)
def test_timm_at_any_size_with_any_channels(depths: tuple[int, ...], size: tuple[int, int], channels: int) -> None:
    theirs = reference(depths, size, channels)
    config = HybridViTConfig(backbone_depths=depths, image_size=size, in_channels=channels, **SMALL)
    assert_same(loaded(config, theirs), theirs, torch.randn(2, channels, *size))


def test_patches_of_the_stem() -> None:
    theirs = reference((), patch_size=4)
    config = HybridViTConfig(backbone_depths=(), image_size=64, patch_size=4, **SMALL)
    assert_same(loaded(config, theirs), theirs, torch.randn(2, 3, 64, 64))
    with pytest.raises(ValueError, match="9×16 is not a multiple of patch 4×4"):
        config.build()(torch.randn(1, 3, 36, 64))


def test_every_unit_and_block() -> None:
    theirs = reference((1, 2))
    ours = loaded(HybridViTConfig(backbone_depths=(1, 2), image_size=64, **SMALL), theirs)
    blocks = {f"encoder.blocks.{index}": f"blocks.{index}" for index in range(2)}
    assert_same_inside(ours, theirs, blocks, torch.randn(1, 3, 64, 64))
    image = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    ours, theirs = ours.embed.patches.backbone, theirs.patch_embed.backbone
    with torch.no_grad():
        a, b = ours.pool(ours.stem(image)), theirs.stem(image)
        assert torch.allclose(a, b, atol=1e-10)
        for mine, other in zip(ours.stages, theirs.stages, strict=True):
            for unit, block in zip(mine, other.blocks, strict=True):
                a, b = unit(a), block(b)
                assert torch.allclose(a, b, atol=1e-10)


def test_official_arrays(tmp_path: Path) -> None:
    config = HybridViTConfig(backbone_depths=(1, 2), image_size=64, **SMALL)
    source = randomise(config.build(), seed=1)
    arrays = to_theirs(source.state_dict(), LAYOUTS[2], num_heads=2)
    np.savez(tmp_path / "hybrid.npz", **{name: official_axes(name, array) for name, array in arrays.items()})
    theirs = reference((1, 2))
    theirs.load_pretrained(str(tmp_path / "hybrid.npz"))
    with np.load(tmp_path / "hybrid.npz") as archive:
        ours = loaded(config, {name: torch.from_numpy(archive[name]) for name in archive.files})
    assert_same(ours, theirs, torch.randn(2, 3, 64, 64))


def official_axes(name: str, array: Tensor) -> np.ndarray:
    return (array[None, None, None] if "/gn" in f"/{name}" else array).contiguous().numpy()


def test_any_cnn_may_stand_in_front() -> None:
    resnet = nn.Sequential(*list(torchvision.models.resnet18().children())[:-2]).eval()
    embed = HybridPatchEmbed(resnet, channels=512, reduction=32, embed_dim=24)
    for size in ((64, 96), (65, 33)):
        assert embed(torch.randn(1, 3, *size)).grid == embed.grid(size)
