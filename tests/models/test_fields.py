"""Configs: abstract ones that state fields once, and final ones that families build from."""

import dataclasses
from typing import Any

import pytest

from vitrail.models.clip import CLIPConfig, CLIPVisionConfig
from vitrail.models.fields import EncoderFields, ModelFields, PositionedFields, ViTFields, shared_fields
from vitrail.models.registry import CONFIGS
from vitrail.models.vit import ViTConfig


@pytest.mark.parametrize("kind", [ModelFields, EncoderFields, ViTFields, PositionedFields])
def test_what_states_fields_builds_nothing(kind: Any) -> None:
    with pytest.raises(TypeError, match="abstract"):
        kind()


@pytest.mark.parametrize("kind", CONFIGS.values(), ids=CONFIGS)
def test_families_are_final_and_take_no_other_field(kind: Any) -> None:
    assert not kind.__subclasses__()
    assert not hasattr(object.__new__(kind), "__dict__")


def test_fields_are_frozen_and_replaced() -> None:
    config = ViTConfig(depth=3)
    assert dataclasses.replace(config, depth=12) == ViTConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.depth = 4  # type: ignore[misc]


def test_shared_fields_are_those_of_both() -> None:
    shared = shared_fields(CLIPConfig(activation="gelu"), CLIPVisionConfig)
    assert shared["activation"] == "gelu"
    assert shared["patch_size"] == 32
    assert not {"joint_dim", "num_classes", "head_bias"} & set(shared)
