"""Layouts of MiT and SegFormer. MiT's official names are those of PVT v2."""

from collections.abc import Mapping
from typing import Any

from ...models.pvt_v2 import PVTv2Config
from ...models.segformer import SegFormerConfig
from .expect import expect
from .pvt_v2 import BLOCK, OFFICIAL, PATCHES, STAGE, block, first_patches, pyramid_fields, transformers_block
from .rename import Layout, Rule, batch_norm, linear


def _head(fuse: str, norm: str, classify: str) -> tuple[Rule, ...]:
    return (
        Rule("head.fuse.weight", (f"{fuse}.weight",)),
        batch_norm("head.norm", norm),
        linear("head.classify", classify),
    )


def _official() -> tuple[Rule, ...]:
    """Rules for mmsegmentation's names; its decoder counts levels from 1."""
    levels = (linear(f"head.project.{level}", f"decode_head.linear_c{level + 1}.proj") for level in range(4))
    fuse = "decode_head.linear_fuse"
    return *OFFICIAL, *levels, *_head(f"{fuse}.conv", f"{fuse}.bn", "decode_head.linear_pred")


_HUB = (
    *first_patches("encoder.patch_embeddings.{s}", "proj", "layer_norm"),
    *transformers_block("encoder.block.{s}.{i}", "attention.self", "sr", "attention.output.dense"),
    linear(f"{STAGE}.norm", "encoder.layer_norm.{s}"),
)
_MODULES = (
    *first_patches("stages.{s}.patch_embeddings", "proj", "layer_norm"),
    *block(
        BLOCK,
        "stages.{s}.blocks.{i}",
        norms=("layernorm_before", "layernorm_after"),
        q="attention.q_proj",
        kv=("attention.k_proj", "attention.v_proj"),
        reduction=("attention.sequence_reduction.sequence_reduction", "attention.sequence_reduction.layer_norm"),
        project="attention.o_proj",
    ),
    linear(f"{STAGE}.norm", "stages.{s}.layer_norm"),
)
_CLASSIFIER = (linear("head.classify", "classifier"),)
_FUSED = _head("decode_head.linear_fuse", "decode_head.batch_norm", "decode_head.classifier")
_DECODER = {
    "files": (linear("head.project.{s}", "decode_head.linear_c.{s}.proj"), *_FUSED),
    "modules": (linear("head.project.{s}", "decode_head.linear_projections.{s}.proj"), *_FUSED),
}
# transformers' layer norms ignore the config's layer_norm_eps.
_FIELDS = {"norm_eps": 1e-5, "conv_norm_eps": 1e-5}

LAYOUTS = (
    Layout("official SegFormer", _official(), ("decode_head.conv_seg.{p}",), ("module.", "backbone.")),
    *(
        Layout(f"transformers {model} ({kind})", (*blocks, *ends), (), ("segformer.",), _FIELDS)
        for kind, blocks in (("files", _HUB), ("modules", _MODULES))
        for model, ends in (("MiT", _CLASSIFIER), ("SegFormer", _DECODER[kind]))
    ),
)


def _config(card: Mapping[str, Any]) -> PVTv2Config | SegFormerConfig:
    expect(card, **PATCHES)
    encoder = {**pyramid_fields(card, "sr_ratios"), **_FIELDS}
    architectures = card.get("architectures") or ()
    if "SegformerForImageClassification" in architectures:
        return PVTv2Config(**encoder)
    if "SegformerModel" in architectures:
        return PVTv2Config(num_classes=0, **encoder)
    return SegFormerConfig(
        **encoder, decoder_dim=card["decoder_hidden_size"], decoder_dropout=card["classifier_dropout_prob"]
    )


CONFIGS = {"segformer": _config}
