"""Layouts of VideoMAE."""

from collections.abc import Mapping
from typing import Any

from ...models.videomae import VideoMAEConfig
from . import timm, transformers
from .block import named_block
from .expect import expect, vit_fields
from .rename import PAIR, STACK, Layout, Rule, linear

_BLOCK = "encoder.blocks.{i}"
_QKV = f"{_BLOCK}.attention.branch.qkv"
_PRETRAINING = ("decoder.{x}", "encoder_to_decoder.weight", "mask_token")


def _biases(theirs: str, q: str, v: str) -> Rule:
    return Rule(f"{_QKV}.bias", (f"{theirs}.{q}", f"{theirs}.{v}"), PAIR)


OFFICIAL = Layout(
    "official VideoMAE",
    (
        linear("embed.patches.project", "patch_embed.proj"),
        _biases("blocks.{i}.attn", "q_bias", "v_bias"),  # before the usual rules, which have a bias of keys
        *timm.block(_BLOCK),
        linear("head.norm", "fc_norm"),
        linear("head.classify", "head"),
    ),
    prefixes=("module.",),
)


def _transformers(kind: str, q: str, v: str) -> Layout:
    theirs = "encoder.layer.{i}"
    attention = f"{theirs}.attention.attention"
    return Layout(
        f"transformers VideoMAE ({kind})",
        (
            linear("embed.patches.project", "embeddings.patch_embeddings.projection"),
            Rule(f"{_QKV}.weight", tuple(f"{attention}.{part}.weight" for part in ("query", "key", "value")), STACK),
            _biases(attention, q, v),
            *named_block(
                theirs,
                norms=transformers.NORMS,
                project=transformers.FILES["project"],
                mlp=(transformers.FILES["expand"], transformers.FILES["contract"]),
            ),
            linear("encoder.norm", "layernorm"),
            linear("head.norm", "fc_norm"),
            linear("head.classify", "classifier"),
        ),
        _PRETRAINING,
        ("videomae.",),
        {"norm_eps": 1e-12, "pool_norm_eps": 1e-5},
    )


LAYOUTS = (OFFICIAL, _transformers("files", "q_bias", "v_bias"), _transformers("modules", "query.bias", "value.bias"))


def _config(card: Mapping[str, Any]) -> VideoMAEConfig:
    expect(card, hidden_act="gelu", qv_bias=True)
    usual = "VideoMAEForVideoClassification"
    classifies = usual in (card.get("architectures") or (usual,))
    return VideoMAEConfig(
        **vit_fields(card),
        num_frames=card["num_frames"],
        tubelet_frames=card["tubelet_size"],
        num_classes=400 if classifies else 0,
        pool="mean" if card.get("use_mean_pooling", True) else "first",
        pool_norm=classifies,
        pool_norm_eps=1e-5,
    )


CONFIGS = {"videomae": _config}
