"""Weights that a run starts from: read once, whatever they are adapted to."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from killable_runs import SMALL, make_pictures
from safetensors.torch import save_file

import vitrail
from vitrail.checkpoint import contract
from vitrail.checkpoint.contract import Checkpoint
from vitrail.data.preprocess import Preprocess
from vitrail.models.vit import ViTConfig
from vitrail.training.resolve import OwnParts, resolve
from vitrail.training.training_data import Reading, read_data

TINY = ViTConfig(image_size=16, patch_size=4, embed_dim=32, num_heads=2, depth=1, num_classes=5)
RECIPE = replace(SMALL, model=None, overrides={}, drop_path=0.0, dropout=0.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return read_data(make_pictures(tmp_path_factory.mktemp("images") / "three kinds"), Reading())


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "start"
    contract.save(Checkpoint(TINY.build(), tuple("abcde"), Preprocess(image_size=(16, 16))), path)
    return path


def test_weights_are_read_once_and_adapted_as_load_adapts_them(data, weights, monkeypatch):
    reads = []
    read = contract.read
    monkeypatch.setattr(contract, "read", lambda source, *rest: reads.append(source) or read(source, *rest))
    started = resolve(replace(RECIPE, weights=str(weights), image_size=24), data, OwnParts()).checkpoint
    assert reads == [str(weights)]
    expected = vitrail.load(weights, num_classes=3, image_size=24)
    assert (started.model.config.num_classes, started.preprocess.image_size) == (3, (24, 24))
    assert started.info["adapted"] == expected.info["adapted"]
    for name, tensor in expected.model.state_dict().items():
        if not name.startswith("head.classify"):
            assert torch.equal(started.model.state_dict()[name], tensor), name


def test_the_recipe_completes_what_the_shapes_of_bare_weights_leave_open(data, tmp_path):
    torch.manual_seed(2)
    bare = tmp_path / "bare.safetensors"
    save_file(vitrail.export_state_dict(TINY.build(), "timm"), bare)
    with pytest.raises(vitrail.VitrailError, match="width 32 cannot be inferred: pass num_heads"):
        resolve(replace(RECIPE, weights=str(bare)), data, OwnParts())
    found = resolve(replace(RECIPE, weights=str(bare), overrides={"num_heads": 4}), data, OwnParts())
    assert found.checkpoint.model.config.num_heads == 4
