"""DPT against transformers, and under the official names."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

import vitrail
from vitrail.errors import VitrailError
from vitrail.models.dpt import VARIANTS, DPTConfig

from .references import assert_same, assert_same_inside, count, loaded, on_meta, randomise, saved

SMALL: dict[str, Any] = {"image_size": 64, "embed_dim": 32, "depth": 5, "num_heads": 4, "after": (0, 1, 3, 4)}
SMALL |= {"widths": (8, 16, 24, 32), "fusion_dim": 16}
DEPTH = DPTConfig(**SMALL)
SEGMENTATION = DPTConfig(num_classes=9, fusion_norm=True, **SMALL)
UNUSED = r"dpt\.layernorm|layers\.0\.residual_layer1|auxiliary_head"


def reference(config: DPTConfig) -> nn.Module:
    kind = transformers.DPTForSemanticSegmentation if config.num_classes else transformers.DPTForDepthEstimation
    return kind(
        transformers.DPTConfig(
            image_size=config.image_size,
            patch_size=config.patch_size,
            num_channels=config.in_channels,
            num_labels=config.num_classes or 2,
            hidden_size=config.embed_dim,
            num_hidden_layers=config.depth,
            num_attention_heads=config.num_heads,
            intermediate_size=int(config.embed_dim * config.mlp_ratio),
            backbone_out_indices=list(config.after),
            neck_hidden_sizes=list(config.widths),
            fusion_hidden_size=config.fusion_dim,
            use_batch_norm_in_fusion_residual=config.fusion_norm,
        )
    )


def randomised(config: DPTConfig) -> nn.Module:
    """Random, with a depth that is not all behind the last activation."""
    model = randomise(reference(config))
    if not config.num_classes:
        with torch.no_grad():
            model.head.head[4].weight.mul_(4)
            model.head.head[4].bias.fill_(1.5)
    return model


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    theirs = on_meta(lambda: reference(VARIANTS[name]))
    unused = sum(value.numel() for key, value in theirs.named_parameters() if re.search(UNUSED, key))
    assert count(on_meta(VARIANTS[name].build)) == count(theirs) - unused


@pytest.mark.parametrize("config", [DEPTH, SEGMENTATION], ids=["depth", "segmentation"])
@pytest.mark.parametrize("side", [64, 80, 160])
def test_any_size(config: DPTConfig, side: int) -> None:
    theirs = randomised(config)
    # Positions are resampled in float32 here, as elsewhere; this reference alone does it in float64.
    assert_same(loaded(config, theirs), theirs, torch.randn(2, 3, side, side), double=1e-6)


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_any_channels(channels: int) -> None:
    config = DPTConfig(in_channels=channels, **SMALL)
    theirs = randomised(config)
    assert_same(loaded(config, theirs), theirs, torch.randn(1, channels, 64, 64))


def test_every_block() -> None:
    pairs = {f"encoder.blocks.{index}": f"dpt.encoder.layer.{index}" for index in range(5)}
    theirs = randomised(DEPTH)
    assert_same_inside(loaded(DEPTH, theirs), theirs, pairs, torch.randn(1, 3, 64, 64))


@pytest.mark.parametrize("config", [DEPTH, SEGMENTATION], ids=["depth", "segmentation"])
def test_files_of_the_hub(config: DPTConfig, tmp_path: Path) -> None:
    theirs = randomised(config)
    assert_same(saved(theirs, config, tmp_path), theirs, torch.randn(1, 3, 64, 64))


def test_a_config_that_is_not_read(tmp_path: Path) -> None:
    theirs = reference(DEPTH)
    theirs.config.readout_type = "add"
    theirs.save_pretrained(tmp_path)
    with pytest.raises(VitrailError, match="readout_type 'add'"):
        vitrail.load(tmp_path)


OFFICIAL = (
    (r"^dpt\.embeddings\.cls_token", "pretrained.model.cls_token"),
    (r"^dpt\.embeddings\.position_embeddings", "pretrained.model.pos_embed"),
    (r"^dpt\.embeddings\.patch_embeddings\.projection", "pretrained.model.patch_embed.proj"),
    (r"^dpt\.layernorm", "pretrained.model.norm"),
    (r"^dpt\.encoder\.layer", "pretrained.model.blocks"),
    (r"attention\.output\.dense", "attn.proj"),
    (r"intermediate\.dense", "mlp.fc1"),
    (r"(blocks\.\d+)\.output\.dense", r"\1.mlp.fc2"),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("residual_layer", "resConfUnit"),
    ("convolution", "conv"),
    ("batch_norm", "bn"),
    (r"^head\.head", "scratch.output_conv"),
)


def official(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors as isl-org/DPT names them."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        for pattern, there in OFFICIAL:
            name = re.sub(pattern, there, name)
        for index in range(4):
            neck, post = rf"^neck\.reassemble_stage\.\w+\.{index}", f"pretrained.act_postprocess{index + 1}"
            name = re.sub(rf"{neck}\.0", f"{post}.0.project.0", name)
            name = re.sub(rf"{neck}\.projection", f"{post}.3", name)
            name = re.sub(rf"{neck}\.resize", f"{post}.4", name)
            name = re.sub(rf"^neck\.convs\.{index}", f"scratch.layer{index + 1}_rn", name)
            name = re.sub(rf"^neck\.fusion_stage\.layers\.{index}", f"scratch.refinenet{4 - index}", name)
        renamed[name.replace("projection", "out_conv")] = tensor
    for name in [name for name in renamed if "attention.attention.query" in name]:
        parts = [renamed.pop(name.replace("query", part)) for part in ("query", "key", "value")]
        renamed[name.replace("attention.attention.query", "attn.qkv")] = torch.cat(parts)
    return renamed


@pytest.mark.parametrize("config", [DEPTH, SEGMENTATION], ids=["depth", "segmentation"])
def test_official_names(config: DPTConfig) -> None:
    theirs = randomised(config)
    state = {key: value for key, value in theirs.state_dict().items() if "auxiliary" not in key}
    assert "scratch.refinenet1.out_conv.weight" in official(state)
    assert_same(loaded(config, official(state)), theirs, torch.randn(1, 3, 64, 64))
