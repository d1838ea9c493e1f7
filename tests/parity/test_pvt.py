"""PVT against transformers, and its published sizes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

import vitrail
from vitrail.models.pvt import VARIANTS, PVTConfig

from .references import assert_same, assert_same_inside, count, loaded, on_meta, randomise, saved, stage_pairs

SMALL: dict[str, Any] = {"embed_dims": (8, 16, 24, 32), "depths": (1, 2, 1, 1), "num_heads": (1, 2, 3, 4)}
# Wang et al. (2021), table 2, in millions.
PUBLISHED = {"pvt_tiny_224": 13.2, "pvt_small_224": 24.5, "pvt_medium_224": 44.2, "pvt_large_224": 61.4}


def twin(config: PVTConfig) -> Any:
    """transformers' model of the same sizes."""
    return transformers.PvtForImageClassification(
        transformers.PvtConfig(
            image_size=config.image_size,
            num_channels=config.in_channels,
            num_labels=config.num_classes,
            hidden_sizes=list(config.embed_dims),
            depths=list(config.depths),
            num_attention_heads=list(config.num_heads),
        )
    )


def small(**more: Any) -> PVTConfig:
    return PVTConfig(**{"image_size": 64, "num_classes": 9, "conv_norm_eps": 1e-6, **SMALL, **more})


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    ours = count(on_meta(VARIANTS[name].build))
    assert ours == count(on_meta(lambda: twin(VARIANTS[name])))
    assert round(ours / 1e6, 1) == PUBLISHED[name]


@pytest.mark.parametrize("side", [32, 64, 96])
def test_transformers_at_square_sizes(side: int) -> None:
    config = small(image_size=side)
    theirs = randomise(twin(config))
    assert_same(loaded(config, theirs), theirs, torch.randn(2, 3, side, side))


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_transformers_with_any_channels(channels: int) -> None:
    config = small(in_channels=channels)
    theirs = randomise(twin(config))
    assert_same(loaded(config, theirs), theirs, torch.randn(1, channels, 64, 64))


def test_every_block_of_a_whole_model() -> None:
    config = VARIANTS["pvt_tiny_224"]
    theirs = randomise(twin(config))
    config = replace(config, conv_norm_eps=1e-6)
    pairs = stage_pairs(config.depths, "pvt.encoder.block.{stage}.{block}")
    assert_same_inside(loaded(config, theirs), theirs, pairs, torch.randn(1, 3, 224, 224))


def test_transformers_files(tmp_path: Path) -> None:
    theirs = randomise(twin(small()))
    assert_same(saved(theirs, small(), tmp_path), theirs, torch.randn(2, 3, 64, 64))


def test_official_names() -> None:
    theirs = randomise(twin(small()))
    assert_same(loaded(small(), official(theirs)), theirs, torch.randn(1, 3, 64, 64))


def test_a_checkpoint_grows_to_another_size(tmp_path: Path) -> None:
    """transformers keeps to one size. The positions of all stages are resampled, once or in every forward."""
    twin(small()).save_pretrained(tmp_path)
    grown, given = vitrail.load(tmp_path, image_size=(96, 64)).model, vitrail.load(tmp_path).model
    pixels = torch.randn(1, 3, 96, 64)
    assert torch.allclose(grown(pixels), given(pixels), atol=1e-6)


def official(theirs: torch.nn.Module) -> dict[str, Tensor]:
    """transformers' tensors under the names of the official release, keys and values joined."""
    renames = {
        "pvt.encoder.layer_norm": "norm",
        "classifier": "head",
        "layer_norm_": "norm",
        "attention.self.query": "attn.q",
        "attention.self.sequence_reduction": "attn.sr",
        "attention.self.layer_norm": "attn.norm",
        "attention.output.dense": "attn.proj",
        "mlp.dense": "mlp.fc",
        "pvt.encoder.patch_embeddings.3.cls_token": "cls_token",
        "projection": "proj",
        "layer_norm": "norm",
    }
    for stage in range(4):
        renames[f"pvt.encoder.patch_embeddings.{stage}.position_embeddings"] = f"pos_embed{stage + 1}"
        renames[f"pvt.encoder.patch_embeddings.{stage}"] = f"patch_embed{stage + 1}"
        renames[f"pvt.encoder.block.{stage}"] = f"block{stage + 1}"
    state = {}
    theirs_state = theirs.state_dict()
    for name, tensor in theirs_state.items():
        if "self.value" in name:
            continue
        if "self.key" in name:
            tensor = torch.cat([tensor, theirs_state[name.replace("self.key", "self.value")]])
            name = name.replace("attention.self.key", "attn.kv")
        for old, new in renames.items():
            name = name.replace(old, new)
        state[name] = tensor
    return state
