"""CvT against transformers, and its published sizes."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers.models.cvt.modeling_cvt import CvtIntermediate

from vitrail.checkpoint.card import Card
from vitrail.checkpoint.foreign import from_state
from vitrail.models.cvt import VARIANTS, CvTConfig

from .references import assert_same, assert_same_inside, count, loaded, on_meta, randomise, saved, stage_pairs

# transformers asks for more blocks in a stage than there are stages before it.
SMALL: dict[str, Any] = {"embed_dims": (8, 16, 24), "depths": (1, 2, 3), "num_heads": (1, 2, 3)}
# Wu et al. (2021), table 3, in millions.
PUBLISHED = {"cvt_13_224": 20, "cvt_13_384": 20, "cvt_21_224": 32, "cvt_21_384": 32, "cvt_w24_384": 277}


def twin(config: CvTConfig) -> Any:
    """transformers' model of the same sizes."""
    return transformers.CvtForImageClassification(
        transformers.CvtConfig(
            num_channels=config.in_channels,
            num_labels=config.num_classes,
            embed_dim=list(config.embed_dims),
            depth=list(config.depths),
            num_heads=list(config.num_heads),
        )
    )


def small(**more: Any) -> CvTConfig:
    return CvTConfig(**{"num_classes": 9, **SMALL, **more})


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    ours = count(on_meta(VARIANTS[name].build))
    assert ours == count(on_meta(lambda: twin(VARIANTS[name])))
    assert round(ours / 1e6) == PUBLISHED[name]


@pytest.mark.parametrize("size", [(64, 64), (96, 160), (90, 75), (33, 47)])
def test_transformers_at_any_size(size: tuple[int, int]) -> None:
    theirs = randomise(twin(small()))
    assert_same(loaded(small(image_size=size), theirs), theirs, torch.randn(2, 3, *size))


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_transformers_with_any_channels(channels: int) -> None:
    config = small(in_channels=channels)
    theirs = randomise(twin(config))
    assert_same(loaded(config, theirs), theirs, torch.randn(1, channels, 64, 64))


def test_every_block_of_a_whole_model() -> None:
    config = VARIANTS["cvt_13_224"]
    theirs = randomise(twin(config))
    pairs = stage_pairs(config.depths, "cvt.encoder.stages.{stage}.layers.{block}")
    assert_same_inside(loaded(config, theirs), theirs, pairs, torch.randn(1, 3, 128, 128))


def test_transformers_files(tmp_path: Path) -> None:
    theirs = randomise(twin(small()))
    assert_same(saved(theirs, small(), tmp_path), theirs, torch.randn(2, 3, 64, 64))


def test_official_names() -> None:
    theirs = randomise(twin(small()))
    assert_same(loaded(small(), official(theirs)), theirs, torch.randn(1, 3, 64, 64))


def test_the_release_has_another_activation() -> None:
    theirs = randomise(twin(small()))
    for module in theirs.modules():
        if isinstance(module, CvtIntermediate):
            module.activation = transformers.activations.ACT2FN["quick_gelu"]
    stored = from_state(official(theirs), Card(config=small()), None, {}, origin="")
    assert stored.config == small(activation="quick_gelu")
    ours = stored.config.build().eval()
    ours.load_state_dict(stored.state)
    assert_same(ours, theirs, torch.randn(2, 3, 64, 64))


def test_grids_are_those_that_the_patches_say() -> None:
    tokens = small().build().eval().forward_features(torch.randn(1, 3, 224, 224))
    assert (tokens.grid, tokens.prefix) == ((14, 14), 1)


def official(theirs: torch.nn.Module) -> dict[str, Tensor]:
    """transformers' tensors under the names of the official release."""
    renames = {
        r"cvt\.encoder\.stages\.(\d)": r"stage\1",
        "embedding.convolution_embeddings.projection": "patch_embed.proj",
        "embedding.convolution_embeddings.normalization": "patch_embed.norm",
        "layers": "blocks",
        r"attention\.attention\.convolution_projection_(.)\w+\.convolution_projection": r"attn.conv_proj_\1",
        r"\.convolution\.": ".conv.",
        "normalization": "bn",
        r"attention\.attention\.projection_(.)\w+": r"attn.proj_\1",
        r"attention\.output\.dense": "attn.proj",
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
        "layernorm": "norm",
        "classifier": "head",
    }
    state = {}
    for name, tensor in theirs.state_dict().items():
        for old, new in renames.items():
            name = re.sub(old, new, name)
        state[name] = tensor
    return state
