"""Layouts of PVT."""

from collections.abc import Mapping
from typing import Any

from ...models.pvt import PVTConfig
from .expect import expect
from .pvt_v2 import block, pyramid_fields, transformers_block
from .rename import Layout, Rule, linear

_LAST = "encoder.blocks.3.reduce.embed.parts.prefix.weight"


def _embed(stage: int, patches: str, norm: str, positions: str) -> tuple[Rule, ...]:
    ours = f"encoder.blocks.{stage}.reduce.embed" if stage else "embed"
    return (
        linear(f"{ours}.patches.project", patches),
        linear(f"{ours}.parts.norm.layer", norm),
        Rule(f"{ours}.parts.positions.weight", (positions,)),
    )


def _official() -> tuple[Rule, ...]:
    """Rules for the official names, which count stages from 1 and have no common prefix."""
    rules: list[Rule] = [Rule(_LAST, ("cls_token",)), linear("encoder.norm", "norm"), linear("head.classify", "head")]
    for stage in range(4):
        number = stage + 1
        patches = f"patch_embed{number}"
        rules += _embed(stage, f"{patches}.proj", f"{patches}.norm", f"pos_embed{number}")
        rules += block(f"encoder.blocks.{stage}.blocks.{{i}}", f"block{number}.{{i}}", mlp=("mlp.fc1", "mlp.fc2"))
    return tuple(rules)


def _transformers() -> tuple[Rule, ...]:
    rules: list[Rule] = [
        Rule(_LAST, ("encoder.patch_embeddings.3.cls_token",)),
        linear("encoder.norm", "encoder.layer_norm"),
        linear("head.classify", "classifier"),
    ]
    for stage in range(4):
        patches = f"encoder.patch_embeddings.{stage}"
        rules += _embed(stage, f"{patches}.projection", f"{patches}.layer_norm", f"{patches}.position_embeddings")
    return (
        *rules,
        *transformers_block(
            "encoder.block.{s}.{i}", "attention.self", "sequence_reduction", "attention.output.dense", depthwise=False
        ),
    )


LAYOUTS = (
    Layout("official PVT", _official(), prefixes=("module.",)),
    Layout("transformers PVT", _transformers(), prefixes=("pvt.",), fields={"norm_eps": 1e-6, "conv_norm_eps": 1e-6}),
)


def _config(card: Mapping[str, Any]) -> PVTConfig:
    first = card["patch_sizes"][0]
    expect(card, patch_sizes=[first, 2, 2, 2], strides=[first, 2, 2, 2])
    return PVTConfig(
        image_size=card["image_size"],
        patch_size=first,
        **pyramid_fields(card, "sequence_reduction_ratios"),
        norm_eps=card["layer_norm_eps"],
        conv_norm_eps=card["layer_norm_eps"],
    )


CONFIGS = {"pvt": _config}
