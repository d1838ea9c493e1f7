"""Layouts of CvT."""

from collections.abc import Mapping
from typing import Any

from ...models.cvt import CvTConfig
from . import timm, transformers
from .block import named_block
from .expect import expect, uniform
from .pvt_v2 import patches
from .rename import Layout, Rule, batch_norm, linear

_BLOCK = "encoder.blocks.{s}.blocks.{i}"
_ATTENTION = f"{_BLOCK}.attention.branch"
_LAST = "encoder.blocks.2.reduce.embed"


def _embeds(theirs: str, project: str, norm: str, class_token: str) -> tuple[Rule, ...]:
    """Rules for the patch embeddings of the stages; the last stage also has a class token."""
    places = ("embed", "encoder.blocks.1.reduce.embed", f"{_LAST}.patches")
    rules = [patches(ours, theirs.format(s=stage), project, norm) for stage, ours in enumerate(places)]
    return *(rule for both in rules for rule in both), Rule(f"{_LAST}.parts.prefix.weight", (class_token,))


def _projections(theirs: str, words: tuple[str, str, str], conv: str, norm: str, layer: str) -> tuple[Rule, ...]:
    """Rules for queries, keys and values; a star in their names is replaced by each of the three words."""
    rules: list[Rule] = []
    for part, word in zip("qkv", words, strict=True):
        ours = f"{_ATTENTION}.qkv.{part}"
        rules += (
            Rule(f"{ours}.conv.weight", (f"{theirs}.{conv.replace('*', word)}.weight",)),
            batch_norm(f"{ours}.norm", f"{theirs}.{norm.replace('*', word)}"),
            linear(f"{ours}.linear", f"{theirs}.{layer.replace('*', word)}"),
        )
    return tuple(rules)


_OFFICIAL = (
    *_embeds("stage{s}.patch_embed", "proj", "norm", "stage2.cls_token"),
    *_projections("stage{s}.blocks.{i}.attn", ("q", "k", "v"), "conv_proj_*.conv", "conv_proj_*.bn", "proj_*"),
    *named_block("stage{s}.blocks.{i}", norms=timm.NORMS, project="attn.proj", mlp=("mlp.fc1", "mlp.fc2"), ours=_BLOCK),
    linear("encoder.norm", "norm"),
    linear("head.classify", "head"),
)
_CONV = "convolution_projection_*.convolution_projection"
_TRANSFORMERS = (
    *_embeds(
        "encoder.stages.{s}.embedding.convolution_embeddings",
        "projection",
        "normalization",
        "encoder.stages.2.cls_token",
    ),
    *_projections(
        "encoder.stages.{s}.layers.{i}.attention.attention",
        ("query", "key", "value"),
        f"{_CONV}.convolution",
        f"{_CONV}.normalization",
        "projection_*",
    ),
    *named_block(
        "encoder.stages.{s}.layers.{i}",
        norms=transformers.NORMS,
        project="attention.output.dense",
        mlp=("intermediate.dense", "output.dense"),
        ours=_BLOCK,
    ),
    linear("encoder.norm", "layernorm"),
    linear("head.classify", "classifier"),
)

LAYOUTS = (
    # transformers uses exact GELU, although the weights were trained with its quick approximation.
    Layout("official CvT", _OFFICIAL, prefixes=("module.",), fields={"activation": "quick_gelu"}),
    Layout("transformers CvT", _TRANSFORMERS, prefixes=("cvt.",)),
)


def _config(card: Mapping[str, Any]) -> CvTConfig:
    stages = len(card["depth"])
    expect(card, patch_sizes=[7, 3, 3], patch_stride=[4, 2, 2], patch_padding=[2, 1, 1], cls_token=[False, False, True])
    expect(card, qkv_projection_method=["dw_bn"] * stages, qkv_bias=[True] * stages, kernel_qkv=[3] * stages)
    expect(card, padding_q=[1] * stages, stride_q=[1] * stages, padding_kv=[1] * stages, stride_kv=[2] * stages)
    # transformers' layer norms ignore the card's layer_norm_eps, and the card has no image size.
    classifies = "CvtModel" not in (card.get("architectures") or ())
    return CvTConfig(
        num_classes=1000 if classifies else 0,
        final_norm=classifies,
        in_channels=card["num_channels"],
        embed_dims=tuple(card["embed_dim"]),
        depths=tuple(card["depth"]),
        num_heads=tuple(card["num_heads"]),
        mlp_ratio=uniform(card, "mlp_ratio"),
    )


CONFIGS = {"cvt": _config}
