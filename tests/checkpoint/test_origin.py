"""The stored origin of weights is a public name, in whatever way they come in: no folder of this machine is in it."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers
from safetensors.torch import save_file

from vitrail.checkpoint.contract import load, save
from vitrail.checkpoint.origin import origin_words, public_origin
from vitrail.checkpoint.transfer import convert

from .test_contract import small

SECRET = "client-acme"
TINY: dict[str, Any] = {"img_size": 32, "embed_dim": 48, "depth": 1, "num_heads": 3, "num_classes": 2}


def weights(folder: Path) -> dict[str, Path]:
    """Weights in all forms, inside of a private folder."""
    theirs = timm.create_model("vit_tiny_patch16_224", **TINY)
    state = theirs.state_dict()
    save_file(state, folder / "bare.safetensors")
    torch.save({"state_dict": state}, folder / "model_best.pth.tar")
    timm.models._hub.save_for_hf(theirs, folder / "timm", model_args=TINY, safe_serialization=True)
    shutil.copytree(folder / "timm", folder / "pickled")
    torch.save(state, folder / "pickled" / "pytorch_model.bin")
    sizes = {"hidden_size": 48, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 96}
    card = transformers.ViTConfig(image_size=32, num_labels=2, **sizes)
    transformers.ViTForImageClassification(card).save_pretrained(folder / "hf")
    np.savez(folder / "flax.npz", **{name: value.numpy() for name, value in state.items()})
    return {
        "bare.safetensors": folder / "bare.safetensors",
        "model_best.pth.tar": folder / "model_best.pth.tar",
        "timm": folder / "timm",
        "pytorch_model.bin": folder / "pickled" / "pytorch_model.bin",
        "hf": folder / "hf",
        "flax.npz": folder / "flax.npz",
    }


@pytest.mark.parametrize("relative", [pytest.param(False, marks=pytest.mark.exhaustive), True])
def test_every_way_in(relative: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / SECRET
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    found = weights(Path(SECRET) if relative else folder)
    if relative:  # one pickle of each kind is enough: each is read in a process of its own
        del found["model_best.pth.tar"], found["pytorch_model.bin"]
    for name, path in found.items():
        facts = {} if name in ("hf", "timm", "pytorch_model.bin") else {"num_heads": 3, "image_size": 32}
        converted = convert(path, tmp_path / "out", **facts)
        assert converted.info["origin"] == name
        assert origin_words(converted.info) == f"converted from {name}"
        for file in (tmp_path / "out").glob("*.json"):
            assert SECRET not in file.read_text(), name
        assert load(tmp_path / "out").info["origin"] == name


def test_a_path_that_an_earlier_version_stored_is_dropped(tmp_path: Path) -> None:
    checkpoint = small()
    checkpoint.info["origin"] = f"/home/ada/{SECRET}/vit.pth"
    save(checkpoint, tmp_path / "x")
    assert SECRET not in (tmp_path / "x" / "model.json").read_text()
    assert load(tmp_path / "x").info["origin"] == "vit.pth"


@pytest.mark.parametrize(
    ("stored", "public"),
    [
        ("", ""),
        ("timm/vit_tiny_patch16_224.augreg_in1k", "timm/vit_tiny_patch16_224.augreg_in1k"),
        ("gone/of/another/machine/vit.pth", "vit.pth"),
        ("C:\\Users\\ada\\acme\\vit.pth", "vit.pth"),
        ("~/acme/vit", "vit"),
        ("../acme/vit/", "vit"),
        ("fine-tuned from timm/x on photos", "fine-tuned from timm/x on photos"),
        ("here", "here"),
    ],
)
def test_stored_origins(stored: str, public: str) -> None:
    assert public_origin(stored) == public
