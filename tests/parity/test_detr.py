"""DETR against transformers, with timm's ResNet and with its own, and under the official names."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

import vitrail
from vitrail.errors import VitrailError
from vitrail.models.detr import VARIANTS, DETRConfig

from .references import assert_same, assert_same_inside, count, loaded, on_meta, randomise

SMALL: dict[str, Any] = {"num_classes": 9, "embed_dim": 32, "depth": 2, "decoder_depth": 2, "num_heads": 4}
SMALL |= {"mlp_ratio": 2.0, "num_queries": 7}
TINY = DETRConfig(depths=(1, 1, 1, 1), **SMALL)
TIMM = {(2, 2, 2, 2): "resnet26", (3, 4, 6, 3): "resnet50", (3, 4, 23, 3): "resnet101"}


def reference(config: DETRConfig, **backbone: Any) -> nn.Module:
    """transformers' model; `backbone` is the config of timm's ResNet, or else transformers' own is taken."""
    body = backbone or {
        "model_type": "resnet",
        "depths": list(config.depths),
        "num_channels": config.in_channels,
        "out_features": ["stage4"],
    }
    return transformers.DetrForObjectDetection(
        transformers.DetrConfig(
            backbone_config=body,
            num_labels=config.num_classes,
            d_model=config.embed_dim,
            encoder_layers=config.depth,
            decoder_layers=config.decoder_depth,
            encoder_attention_heads=config.num_heads,
            decoder_attention_heads=config.num_heads,
            encoder_ffn_dim=int(config.embed_dim * config.mlp_ratio),
            decoder_ffn_dim=int(config.embed_dim * config.mlp_ratio),
            num_queries=config.num_queries,
        )
    )


def of_timm(config: DETRConfig) -> nn.Module:
    stride = {"output_stride": 16} if config.dilated else {}
    return reference(
        config, model_type="timm_backbone", backbone=TIMM[config.depths], use_pretrained_backbone=False, **stride
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    assert count(on_meta(VARIANTS[name].build)) == count(on_meta(lambda: of_timm(VARIANTS[name])))


def test_trained_parameters_as_the_official_code_prints_them() -> None:
    ours = on_meta(VARIANTS["detr_resnet50"].build)
    body = ours.embed.patches.body
    assert count(ours) - count(body.conv1) - count(body.layer1) == 41_302_368


@pytest.mark.parametrize("size", [(64, 96), (75, 131)])
def test_any_size(size: tuple[int, int]) -> None:
    theirs = randomise(reference(TINY))
    assert_same(loaded(TINY, theirs), theirs, torch.randn(2, 3, *size))


def test_any_channels() -> None:
    config = DETRConfig(depths=(1, 1, 1, 1), in_channels=13, **SMALL)
    theirs = randomise(reference(config))
    assert_same(loaded(config, theirs), theirs, torch.randn(1, 13, 64, 64))


def test_every_block() -> None:
    theirs = randomise(reference(TINY))
    pairs = {"embed": "model.input_projection:BCHW", "head.decoder": "model.decoder.layernorm"}
    for index in range(2):
        pairs[f"encoder.blocks.{index}"] = f"model.encoder.layers.{index}"
        pairs[f"head.decoder.blocks.{index}"] = f"model.decoder.layers.{index}"
    assert_same_inside(loaded(TINY, theirs), theirs, pairs, torch.randn(1, 3, 96, 64))


@pytest.mark.parametrize("own", [True, False])
def test_files_of_the_hub(own: bool, tmp_path: Path) -> None:
    config = TINY if own else DETRConfig(depths=(2, 2, 2, 2), dilated=True, **SMALL)
    theirs = randomise(reference(config) if own else of_timm(config))
    pixels = torch.randn(1, 3, 64, 96)
    assert_same(loaded(config, theirs), theirs, pixels)
    theirs.float().save_pretrained(tmp_path)  # under the names of the files on the hub
    again = vitrail.load(tmp_path)
    assert again.model.config == config
    assert len(again.class_names) == config.num_classes
    assert_same(again.model, theirs, pixels)


def test_a_config_that_is_not_read(tmp_path: Path) -> None:
    theirs = reference(TINY)
    theirs.config.position_embedding_type = "learned"
    theirs.save_pretrained(tmp_path)
    with pytest.raises(VitrailError, match="position_embedding_type 'learned'"):
        vitrail.load(tmp_path)


OFFICIAL = (
    (r"^model\.((en|de)coder)", r"transformer.\1"),
    (r"encoder_attn_layer_norm", "norm2"),
    (r"encoder_attn\.", "multihead_attn."),
    (r"self_attn_layer_norm", "norm1"),
    (r"(encoder\.layers\.\d+)\.final_layer_norm", r"\1.norm2"),
    (r"(decoder\.layers\.\d+)\.norm2(.*)", r"\1.norm2\2"),
    (r"o_proj", "out_proj"),
    (r"mlp\.fc", "linear"),
    (r"decoder\.layernorm", "decoder.norm"),
    (r"^model\.input_projection", "input_proj"),
    (r"^model\.query_position_embeddings", "query_embed"),
    (r"^class_labels_classifier", "class_embed"),
    (r"^bbox_predictor", "bbox_embed"),
    (r"^model\.backbone\.model", "backbone.0.body"),
)


def official(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors as facebookresearch/detr names them, with `torch.nn.MultiheadAttention`'s joint projections."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        name = re.sub(r"(decoder\.layers\.\d+)\.final_layer_norm", r"\1.norm3", name)
        for pattern, name_there in OFFICIAL:
            name = re.sub(pattern, name_there, name)
        renamed[name] = tensor
    for name in [name for name in renamed if ".q_proj." in name]:
        parts = [renamed.pop(name.replace("q_proj", part)) for part in ("q_proj", "k_proj", "v_proj")]
        renamed[name.replace("q_proj.", "in_proj_")] = torch.cat(parts)
    return renamed


def test_official_names() -> None:
    config = DETRConfig(depths=(2, 2, 2, 2), **SMALL)
    theirs = randomise(of_timm(config))
    state = official(theirs.state_dict())
    assert "transformer.decoder.layers.0.multihead_attn.in_proj_weight" in state
    assert_same(loaded(config, state), theirs, torch.randn(1, 3, 64, 64))
