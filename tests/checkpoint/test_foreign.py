"""Weights of other libraries, as files and folders that these libraries wrote themselves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers
from safetensors.torch import save_file

from tests.parity.references import logits, randomise
from tests.parity.test_other_libraries import SIZES, flax_arrays, flax_vit
from vitrail.checkpoint.contract import load
from vitrail.errors import VitrailError
from vitrail.nn import joined


def same(ours: torch.nn.Module, theirs: torch.nn.Module, size: int) -> bool:
    pixels = torch.randn(2, 3, size, size)
    with torch.no_grad():
        return bool((joined(ours(pixels)) - logits(theirs(pixels))).abs().max() < 1e-5)


def timm_folder(folder: Path, name: str, **overrides: Any) -> torch.nn.Module:
    model = randomise(timm.create_model(name, **overrides))
    folder.mkdir()
    save_file(model.state_dict(), folder / "model.safetensors")
    size = overrides.get("img_size", 224)
    pretrained = {
        "input_size": [3, size, size],
        "crop_pct": 0.95,
        "interpolation": "bilinear",
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.2, 0.2],
        "license": "apache-2.0",
    }
    names = [f"class {index}" for index in range(model.num_classes)]
    config = {
        "architecture": name,
        "num_classes": model.num_classes,
        "global_pool": model.global_pool,
        "label_names": names,
    }
    (folder / "config.json").write_text(json.dumps({**config, "pretrained_cfg": pretrained}))
    return model


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "deit3_small_patch16_224"])
def test_a_timm_folder(tmp_path: Path, name: str) -> None:
    theirs = timm_folder(tmp_path / "x", name, num_classes=6, depth=12, weight_init="skip")
    checkpoint = load(tmp_path / "x")
    assert same(checkpoint.model, theirs, 224)
    assert checkpoint.class_names == tuple(f"class {index}" for index in range(6))
    assert checkpoint.info["architecture"] == name
    assert checkpoint.info["license"] == "apache-2.0"
    how = checkpoint.preprocess
    assert (how.image_size, how.crop, how.interpolation) == ((224, 224), 0.95, "bilinear")
    assert (how.mean, how.std) == ((0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    adapted = load(tmp_path / "x", num_classes=2, image_size=(224, 320), in_channels=4)
    assert joined(adapted.model(torch.randn(1, 4, 224, 320))).shape == (1, 2)
    assert len(adapted.info["adapted"]) == 3


@pytest.mark.parametrize(
    "name",
    [
        "vit_xsmall_patch16_clip_224",
        pytest.param("vit_base_patch32_siglip_256", marks=pytest.mark.exhaustive),
        pytest.param("vit_base_patch32_siglip_gap_256", marks=pytest.mark.exhaustive),
    ],
)
def test_a_timm_folder_of_an_image_encoder(tmp_path: Path, name: str) -> None:
    size = int(name[-3:])
    theirs = timm_folder(tmp_path / "x", name, num_classes=6, img_size=size, weight_init="skip")
    checkpoint = load(tmp_path / "x")
    assert same(checkpoint.model, theirs, size)
    assert checkpoint.info["architecture"] == name


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "deit3_small_patch16_224"])
def test_a_bare_file_tells_its_architecture(tmp_path: Path, name: str) -> None:
    theirs = timm_folder(tmp_path / "x", name, num_classes=6, img_size=96, weight_init="skip")
    checkpoint = load(tmp_path / "x" / "model.safetensors")
    assert same(checkpoint.model, theirs, 96)
    assert checkpoint.info["architecture"] == name
    named = load(tmp_path / "x" / "model.safetensors", architecture=name)
    assert same(named.model, theirs, 96)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_tiny_patch16_dinov3_qkvb"])
def test_the_mean_over_patches(tmp_path: Path, name: str) -> None:
    theirs = timm_folder(tmp_path / "x", name, num_classes=6, img_size=96, global_pool="avg")
    assert same(load(tmp_path / "x").model, theirs, 96)


def test_models_that_classify_otherwise_are_refused(tmp_path: Path) -> None:
    timm_folder(tmp_path / "x", "vit_tiny_patch16_224", depth=1)
    config = json.loads((tmp_path / "x" / "config.json").read_text())
    (tmp_path / "x" / "config.json").write_text(json.dumps({**config, "global_pool": "map"}))
    with pytest.raises(VitrailError, match="pools with 'map'"):
        load(tmp_path / "x")


@pytest.mark.parametrize("kind", ["vit", "deit"])
def test_a_transformers_folder(tmp_path: Path, kind: str) -> None:
    if kind == "vit":
        labels = {index: f"label {index}" for index in range(9)}
        theirs = transformers.ViTForImageClassification(transformers.ViTConfig(**SIZES, id2label=labels))
        transformers.ViTImageProcessor(size={"height": 48, "width": 48}).save_pretrained(tmp_path)
    else:
        theirs = transformers.DeiTForImageClassificationWithTeacher(transformers.DeiTConfig(**SIZES))
        sizes = {"size": {"height": 56, "width": 56}, "crop_size": {"height": 48, "width": 48}}
        transformers.DeiTImageProcessor(**sizes).save_pretrained(tmp_path)
    randomise(theirs).save_pretrained(tmp_path)
    checkpoint = load(tmp_path)
    assert same(checkpoint.model, theirs, 48)
    assert checkpoint.model.config.norm_eps == 1e-12
    assert not checkpoint.model.config.position_antialias
    assert len(checkpoint.class_names) == 9
    assert checkpoint.preprocess.image_size == (48, 48)
    assert checkpoint.preprocess.crop == (1.0 if kind == "vit" else 48 / 56)
    assert checkpoint.preprocess.stretch


@pytest.mark.parametrize("pre_logits", [False, True])
def test_an_official_npz(tmp_path: Path, pre_logits: bool) -> None:
    arrays = flax_arrays(dim=192, heads=3)
    if pre_logits:
        arrays |= {"pre_logits/kernel": torch.zeros(192, 192), "pre_logits/bias": torch.zeros(192)}
    np.savez(tmp_path / "x.npz", **{name: array.numpy() for name, array in arrays.items()})
    checkpoint = load(tmp_path / "x.npz")
    pixels = torch.randn(2, 3, 48, 48)
    if pre_logits:
        assert checkpoint.model.config.num_classes == 0
        assert "pre_logits and head were left out" in checkpoint.info["adapted"][0]
        assert load(tmp_path / "x.npz", num_classes=4).model(pixels).shape == (2, 4)
    else:
        with torch.no_grad():
            assert (checkpoint.model(pixels) - flax_vit(arrays, pixels.double())).abs().max() < 1e-5


def test_an_npz_with_pickles_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", cls=np.array([{"a": 1}], dtype=object))
    with pytest.raises(VitrailError, match="without pickles"):
        load(tmp_path / "x.npz")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt"])
def test_pickles_are_refused_with_the_command(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"")
    with pytest.raises(VitrailError, match=rf"`vitrail convert {path} -o {tmp_path / 'x.safetensors'}`"):
        load(path)


def test_unknown_width_asks_for_the_heads(tmp_path: Path) -> None:
    model = randomise(timm.create_model("vit_tiny_patch16_224", embed_dim=96, num_heads=6, depth=1, num_classes=2))
    save_file(model.state_dict(), tmp_path / "x.safetensors")
    with pytest.raises(VitrailError, match="pass num_heads"):
        load(tmp_path / "x.safetensors")
    assert same(load(tmp_path / "x.safetensors", num_heads=6).model, model, 224)


def test_places_that_hold_nothing_are_said(tmp_path: Path) -> None:
    with pytest.raises(VitrailError, match="there is no file or folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(VitrailError, match="is not a checkpoint"):
        load(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(VitrailError, match=r"no model\.safetensors"):
        load(tmp_path)
