"""FlexiViT, and any ViT at another patch size, against timm."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.models.vision_transformer import checkpoint_filter_fn

import vitrail
from vitrail.checkpoint.contract import Checkpoint, load, save
from vitrail.data.preprocess import Preprocess
from vitrail.models.flexivit import VARIANTS
from vitrail.models.registry import model_config

from .references import assert_same, count, loaded, on_meta, randomise

SMALL: dict[str, Any] = {"embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 9}


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    assert count(on_meta(lambda: vitrail.create_model(name))) == count(on_meta(lambda: timm.create_model(name)))


@pytest.mark.parametrize(("size", "channels"), [((64, 64), 3), ((48, 80), 4), ((112, 32), 1)])
def test_timm(size: tuple[int, int], channels: int) -> None:
    theirs = randomise(timm.create_model("flexivit_small", img_size=size, in_chans=channels, **SMALL))
    config = model_config("flexivit_small", image_size=size, in_channels=channels, **SMALL)
    assert_same(loaded(config, theirs), theirs, torch.randn(2, channels, *size))


@pytest.mark.parametrize("name", ["flexivit_small", "vit_small_patch16_224"])
@pytest.mark.parametrize(("patch", "size"), [(8, 64), (32, 64), (12, 60), (8, 96)])
def test_loading_with_other_patches_is_what_timm_does(name: str, patch: int, size: int, tmp_path: Path) -> None:
    """timm resizes filters in single precision, so only as near as that."""
    theirs = randomise(timm.create_model(name, img_size=64, **SMALL))
    save(
        Checkpoint(loaded(model_config(name, image_size=64, **SMALL), theirs), (), Preprocess(image_size=(64, 64))),
        tmp_path / "x",
    )
    again = load(tmp_path / "x", patch_size=patch, image_size=size)
    other = timm.create_model(name, img_size=size, patch_size=patch, **SMALL).eval()
    other.load_state_dict(checkpoint_filter_fn(theirs.state_dict(), other))
    pixels = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected = other(pixels)
        assert (again.model(pixels) - expected).abs().max() < 1e-4 * expected.abs().max()
    rows = size // patch
    assert again.info["adapted"] == [
        f"patch filters resized from 16×16 to {patch}×{patch}",
        *([f"positions resampled from 4×4 to {rows}×{rows} (bicubic)"] if rows != 4 else []),
    ]
    assert again.preprocess.image_size == (size, size)


def test_larger_patches_on_larger_pictures_give_the_same_tokens(tmp_path: Path) -> None:
    """Patches of 16 on a picture become patches of 32 on the picture resized patch by patch."""
    model = randomise(model_config("flexivit_small", image_size=64, **SMALL).build())
    save(Checkpoint(model, (), Preprocess()), tmp_path / "x")
    again = load(tmp_path / "x", patch_size=32, image_size=128).model
    patches = torch.randn(2, 3, 4, 4, 16, 16)
    larger = torch.nn.functional.interpolate(
        patches.flatten(0, 3)[:, None], scale_factor=2, mode="bicubic", antialias=True
    )
    larger = larger.reshape(2, 3, 4, 4, 32, 32)
    pictures, large = (x.transpose(3, 4).flatten(4).flatten(2, 3) for x in (patches, larger))
    with torch.no_grad():
        expected = model(pictures)
        assert (again(large) - expected).abs().max() < 1e-4 * expected.abs().max()


def test_videos_and_time_adapt_too(tmp_path: Path) -> None:
    sizes = {"image_size": 32, "num_frames": 4, **SMALL}
    model = randomise(model_config("timesformer_base_patch16_224", **sizes).build())
    save(Checkpoint(model, (), Preprocess()), tmp_path / "x")
    again = load(tmp_path / "x", patch_size=8, num_frames=8, in_channels=1)
    assert again.model(torch.randn(1, 1, 8, 32, 32)).shape == (1, 9)
    assert again.info["adapted"] == [
        "patch filters resized from 16×16 to 8×8",
        "positions resampled from 2×2 to 4×4 (nearest)",
        "positions resampled from 4 to 8 (nearest)",
        "embed.patches.project.weight adapted from 3 to 1 channels",
    ]
    with torch.no_grad():  # the nearest of the stored times, as the model itself takes it
        video = torch.randn(1, 3, 8, 32, 32)
        assert torch.allclose(load(tmp_path / "x", num_frames=8).model(video), model(video), atol=1e-6)
