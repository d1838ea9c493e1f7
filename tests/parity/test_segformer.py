"""MiT and SegFormer against transformers, and SegFormer's published sizes."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

import vitrail
from vitrail.models.pvt_v2 import PVTv2Config
from vitrail.models.registry import override
from vitrail.models.segformer import VARIANTS, SegFormerConfig
from vitrail.nn import AllMLPHead, Tokens

from .references import assert_same, assert_same_inside, count, loaded, on_meta, randomise, stage_pairs

SMALL: dict[str, Any] = {
    "num_classes": 9,
    "embed_dims": (8, 16, 24, 32),
    "depths": (1, 2, 1, 1),
    "num_heads": (1, 2, 3, 4),
    "mlp_ratios": (4.0, 4.0, 4.0, 4.0),
    "norm_eps": 1e-5,  # transformers takes no notice of the config's
}
CLASSIFIER = PVTv2Config(image_size=64, **SMALL)
SEGMENTER = SegFormerConfig(image_size=64, decoder_dim=20, **SMALL)
BOTH = pytest.mark.parametrize("config", [CLASSIFIER, SEGMENTER], ids=["mit", "segformer"])
# Xie et al. (2021), table 1 a (encoder and decoder of B0 to B5 on ADE20K), in millions.
PUBLISHED = [3.8, 13.7, 27.5, 47.3, 64.1, 84.7]


def twin(config: PVTv2Config | SegFormerConfig) -> Any:
    """transformers' model of the same sizes."""
    sizes = transformers.SegformerConfig(
        num_channels=config.in_channels,
        num_labels=config.num_classes,
        hidden_sizes=list(config.embed_dims),
        depths=list(config.depths),
        num_attention_heads=list(config.num_heads),
        mlp_ratios=list(map(int, config.mlp_ratios)),
        decoder_hidden_size=getattr(config, "decoder_dim", 1),
    )
    if isinstance(config, PVTv2Config):
        return transformers.SegformerForImageClassification(sizes)
    return transformers.SegformerForSemanticSegmentation(sizes)


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    ours = count(on_meta(VARIANTS[name].build))
    assert ours == count(on_meta(lambda: twin(VARIANTS[name])))
    if name.startswith("segformer"):
        assert ours / 1e6 == pytest.approx(PUBLISHED[int(name[-1])], abs=0.1)


@BOTH
@pytest.mark.parametrize("size", [(64, 64), (96, 160), (90, 75)])
def test_transformers_at_any_size(config: Any, size: tuple[int, int]) -> None:
    theirs = randomise(twin(config))
    assert_same(loaded(config, theirs), theirs, torch.randn(2, 3, *size))


@BOTH
@pytest.mark.parametrize("channels", [1, 4, 13])
def test_transformers_with_any_channels(config: Any, channels: int) -> None:
    config = override(config, {"in_channels": channels}, "")
    theirs = randomise(twin(config))
    assert_same(loaded(config, theirs), theirs, torch.randn(1, channels, 64, 64))


@BOTH
def test_transformers_files(config: Any, tmp_path: Path) -> None:
    theirs = randomise(twin(config))
    theirs.save_pretrained(tmp_path)
    ours = vitrail.load(tmp_path).model
    assert type(ours.config) is type(config)
    assert_same(ours, theirs, torch.randn(2, 3, 64, 96))


def test_every_block_of_a_whole_model() -> None:
    config = VARIANTS["segformer_b0"]
    theirs = randomise(twin(config))
    config = override(config, {"norm_eps": 1e-5}, "")
    pairs = stage_pairs(config.depths, "segformer.stages.{stage}.blocks.{block}") | {
        f"encoder.blocks.{stage}": f"segformer.stages.{stage}:BCHW" for stage in range(4)
    }
    assert_same_inside(loaded(config, theirs), theirs, pairs, torch.randn(1, 3, 128, 128))


@BOTH
def test_official_names(config: Any) -> None:
    theirs = randomise(twin(config))
    state = official(theirs)
    assert_same(loaded(config, state), theirs, torch.randn(1, 3, 64, 64))


def test_the_head_fuses_as_the_paper_writes_it() -> None:
    """Equation 4: resampled, joined, then fused."""
    head = AllMLPHead((3, 4), 5, 2).double().eval()
    fine, coarse = Tokens(torch.randn(2, 12, 3).double(), (3, 4)), Tokens(torch.randn(2, 2, 4).double(), (1, 2))
    maps = [
        F.interpolate(level.with_x(project(level.x)).map, size=(3, 4), mode="bilinear")
        for level, project in zip((fine, coarse), head.project, strict=True)
    ]
    expected = head.classify(head.norm(head.fuse(torch.cat(maps[::-1], dim=1))).relu())
    assert torch.allclose(head((fine, coarse)), expected, atol=1e-12)


def official(theirs: torch.nn.Module) -> dict[str, Tensor]:
    """transformers' tensors under the names of the official release, keys and values joined."""
    state, result = theirs.state_dict(), {}
    for name, tensor in state.items():
        if "v_proj" in name:
            continue
        if "k_proj" in name:
            tensor = torch.cat([tensor, state[name.replace("k_proj", "v_proj")]])
        for old, new in RENAMES.items():
            name = re.sub(old, new, name)
        result[re.sub(r"#(\d)", lambda match: str(int(match[1]) + 1), name)] = tensor
    return result


# `#` in front of a number: counted from 1.
RENAMES = {
    r"segformer\.stages\.(\d)\.patch_embeddings": r"backbone.patch_embed#\1",
    r"segformer\.stages\.(\d)\.blocks": r"backbone.block#\1",
    r"segformer\.stages\.(\d)\.layer_norm": r"backbone.norm#\1",
    r"attention\.q_proj": "attn.q",
    r"attention\.k_proj": "attn.kv",
    r"attention\.o_proj": "attn.proj",
    r"attention\.sequence_reduction\.sequence_reduction": "attn.sr",
    r"attention\.sequence_reduction\.layer_norm": "attn.norm",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "layer_norm": "norm",
    r"decode_head\.linear_projections\.(\d)": r"decode_head.linear_c#\1",
    r"linear_fuse\.": "linear_fuse.conv.",
    "batch_norm": "linear_fuse.bn",
    r"decode_head\.classifier": "decode_head.linear_pred",
    "^classifier": "head",
}
