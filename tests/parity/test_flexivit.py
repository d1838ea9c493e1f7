"""FlexiViT, and any ViT at another patch size, against timm."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from timm.models.vision_transformer import checkpoint_filter_fn

import vitrail
from vitrail.checkpoint.contract import Checkpoint, load, save
from vitrail.data.preprocess import Preprocess
from vitrail.models.flexivit import VARIANTS
from vitrail.models.registry import model_config
from vitrail.models.simple_vit import SimpleViTConfig

from .references import assert_same, check_round_trip, count, loaded, on_meta, randomise

SMALL: dict[str, Any] = {"embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 9}


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    assert count(on_meta(lambda: vitrail.create_model(name))) == count(on_meta(lambda: timm.create_model(name)))


@pytest.mark.parametrize(("size", "channels"), [((64, 64), 3), ((48, 80), 4), ((112, 32), 1)])
def test_timm(size: tuple[int, int], channels: int) -> None:
    theirs = randomise(timm.create_model("flexivit_small", img_size=size, in_chans=channels, **SMALL))
    config = model_config("flexivit_small", image_size=size, in_channels=channels, **SMALL)
    assert_same(loaded(config, theirs), theirs, torch.randn(2, channels, *size))


def big_vision(patch: int, prefix: str, dim: int = 192, heads: int = 3) -> dict[str, np.ndarray]:
    """Random arrays by the names and in the shapes of google-research/big_vision (models/proj/flexi/vit.py)."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls": (1, 1, dim),
        "pos_embedding": (1, 49, dim),
        "embedding/kernel": (patch, patch, 3, dim),
        "embedding/bias": (dim,),
        "head/kernel": (dim, 9),
        "head/bias": (9,),
    }
    norms = ["Transformer/encoder_norm"]
    for block in range(2):
        root = f"Transformer/encoderblock_{block}"
        attention, mlp = f"{root}/MultiHeadDotProductAttention_0", f"{root}/MlpBlock_0"
        norms += [f"{root}/LayerNorm_0", f"{root}/LayerNorm_1"]
        for part in ("query", "key", "value"):
            shapes[f"{attention}/{part}/kernel"] = (dim, heads, dim // heads)
            shapes[f"{attention}/{part}/bias"] = (heads, dim // heads)
        shapes |= {f"{attention}/out/kernel": (heads, dim // heads, dim), f"{attention}/out/bias": (dim,)}
        shapes |= {f"{mlp}/Dense_0/kernel": (dim, 4 * dim), f"{mlp}/Dense_0/bias": (4 * dim,)}
        shapes |= {f"{mlp}/Dense_1/kernel": (4 * dim, dim), f"{mlp}/Dense_1/bias": (dim,)}
    shapes |= {f"{norm}/{part}": (dim,) for norm in norms for part in ("scale", "bias")}
    return {f"{prefix}{name}": torch.randn(shape).mul(0.2).numpy() for name, shape in shapes.items()}


@pytest.mark.parametrize("prefix", ["", "params/"])
@pytest.mark.parametrize(("patch", "size"), [(16, 112), (16, 240), (16, 80), (32, 224), (32, 320)])
def test_files_of_the_release(prefix: str, patch: int, size: int, tmp_path: Path) -> None:
    """timm does not low-pass positions where they shrink, and the release does; else the two are the same."""
    np.savez(tmp_path / "x.npz", **big_vision(patch, prefix))
    sizes = {"embed_dim": 192, "depth": 2, "num_heads": 3, "num_classes": 9}
    theirs = timm.create_model("flexivit_small", img_size=size, patch_size=patch, **sizes).eval()
    theirs.load_pretrained(str(tmp_path / "x.npz"))
    given = load(tmp_path / "x.npz")
    assert given.model.config.image_size == 7 * patch
    assert given.info["layout"] == "big_vision npz"
    shrinks = {"position_antialias": False} if size < 7 * patch else {}
    ours = load(tmp_path / "x.npz", image_size=size, **shrinks)
    assert_same(ours.model, theirs, torch.randn(2, 3, size, size), double=1e-6)
    check_round_trip(big_vision(patch, prefix))


def test_plain_vits_of_big_vision(tmp_path: Path) -> None:
    """Without a class token and with computed positions they are SimpleViTs."""
    arrays = {name: array for name, array in big_vision(16, "").items() if name not in ("cls", "pos_embedding")}
    np.savez(tmp_path / "x.npz", **arrays)
    assert load(tmp_path / "x.npz", image_size=64).model.config == SimpleViTConfig(
        image_size=64, embed_dim=192, depth=2, num_heads=3, num_classes=9
    )


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
