"""Checkpoints of earlier versions, whose description lacks fields that were added since."""

import dataclasses
import json
import warnings
from pathlib import Path

import pytest

from vitrail.checkpoint.atomic import DamagedCheckpoint
from vitrail.checkpoint.contract import load, save
from vitrail.checkpoint.document import from_json
from vitrail.models.vit import ViTConfig
from vitrail.typed import field_types

from .test_contract import small
from .test_hostile import described, without


# num_heads is in every document; its default of 12 does not divide the width of this one.
@pytest.mark.parametrize("name", [name for name in field_types(ViTConfig) if name != "num_heads"])
def test_any_field_may_be_newer_than_a_document(name: str) -> None:
    """A field that is added to any class has its default for earlier checkpoints, which is said."""
    document, state = described()
    assert name in document["config"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = from_json(json.dumps(without(document, "config", name)), state, "x")
    (default,) = (field.default for field in dataclasses.fields(ViTConfig) if field.name == name)
    assert getattr(found.config, name) == default
    said = name not in ("task", "block_heads", "block_head_dims", "block_mlp_dims")
    assert [f"{name}={default!r}" in str(warning.message) for warning in caught] == [True] * said
    assert [f"{name}={default!r}" in sentence for sentence in found.info["adapted"]] == [True] * said


def test_a_preprocessing_of_an_earlier_version_does_not_stretch() -> None:
    document, state = described()
    assert not from_json(json.dumps(without(document, "preprocess", "stretch")), state, "x").preprocess.stretch


@pytest.mark.parametrize("path", ["x", "x.safetensors"])
def test_a_description_that_lost_a_field_is_found_by_its_digest(path: str, tmp_path: Path) -> None:
    save(small(), tmp_path / path)
    file = tmp_path / path / "model.json" if path == "x" else tmp_path / path
    text = file.read_bytes()
    key = b'"num_heads"' if path == "x" else b'\\"num_heads\\"'
    assert text.count(key) == 1
    file.write_bytes(text.replace(key, key.replace(b"num_heads", b"block_mlp")))
    with pytest.raises(DamagedCheckpoint):
        load(tmp_path / path)
