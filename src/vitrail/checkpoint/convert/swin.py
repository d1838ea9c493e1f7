"""Swin's names, elsewhere."""

from collections.abc import Mapping
from typing import Any

from ...models.swin import SwinConfig
from . import timm
from .rename import STACK, Layout, Rule, linear

_STAGE = "encoder.blocks.{s}"
_BLOCK = f"{_STAGE}.blocks.{{i}}"
_LATER = (1, 2, 3)
_INNER = "branch.attention"
_TABLE = f"{_BLOCK}.attention.{_INNER}.bias.table"
# Computed from the window's size; some save them.
_COMPUTED = ("{x}.relative_position_index", "{x}.attn_mask")


def _merging(ours: str, theirs: str) -> tuple[Rule, ...]:
    return (
        linear(f"{ours}.reduce.norm", f"{theirs}.norm"),
        Rule(f"{ours}.reduce.project.weight", (f"{theirs}.reduction.weight",)),
    )


def _official_merging(root: str) -> tuple[Rule, ...]:
    """Where the reduction ends the stage before."""
    rules = (_merging(f"encoder.blocks.{stage}", f"{root}.{stage - 1}.downsample") for stage in _LATER)
    return tuple(rule for merging in rules for rule in merging)


_TIMM_BLOCKS = (
    linear("embed.patches.project", "patch_embed.proj"),
    linear("embed.parts.norm.layer", "patch_embed.norm"),
    *timm.block(_BLOCK, "layers.{s}.blocks.{i}", _INNER),
    Rule(_TABLE, ("layers.{s}.blocks.{i}.attn.relative_position_bias_table",)),
    linear("encoder.norm", "norm"),
)
TIMM = Layout(
    "timm Swin",
    (*_TIMM_BLOCKS, *_merging(_STAGE, "layers.{s}.downsample"), linear("head.classify", "head.fc")),
    _COMPUTED,
)
OFFICIAL = Layout(
    "official Swin", (*_TIMM_BLOCKS, *_official_merging("layers"), linear("head.classify", "head")), _COMPUTED
)


_SELF = ("self.query", "self.key", "self.value")


def _transformers(project: str, expand: str, contract: str, qkv: tuple[str, ...]) -> tuple[Rule, ...]:
    theirs = "encoder.layers.{s}.blocks.{i}"
    return (
        linear("embed.patches.project", "embeddings.patch_embeddings.projection"),
        linear("embed.parts.norm.layer", "embeddings.norm"),
        linear(f"{_BLOCK}.attention.norm", f"{theirs}.layernorm_before"),
        linear(f"{_BLOCK}.attention.{_INNER}.qkv", *(f"{theirs}.attention.{part}" for part in qkv), transform=STACK),
        linear(f"{_BLOCK}.attention.{_INNER}.project", f"{theirs}.attention.{project}"),
        linear(f"{_BLOCK}.mlp.norm", f"{theirs}.layernorm_after"),
        linear(f"{_BLOCK}.mlp.branch.expand", f"{theirs}.{expand}"),
        linear(f"{_BLOCK}.mlp.branch.contract", f"{theirs}.{contract}"),
        *_official_merging("encoder.layers"),
        linear("encoder.norm", "layernorm"),
        linear("head.classify", "classifier"),
    )


_HUB = Layout(
    "transformers Swin (files)",
    (
        *_transformers("output.dense", "intermediate.dense", "output.dense", _SELF),
        Rule(_TABLE, ("encoder.layers.{s}.blocks.{i}.attention.self.relative_position_bias_table",)),
    ),
    _COMPUTED,
    ("swin.",),
)
_MODULES = Layout(
    "transformers Swin (modules)",
    (
        *_transformers("o_proj", "mlp.fc1", "mlp.fc2", ("q_proj", "k_proj", "v_proj")),
        Rule(
            _TABLE,
            ("encoder.layers.{s}.blocks.{i}.attention.relative_position_bias.relative_position_bias_table",),
        ),
    ),
    _COMPUTED,
    ("swin.",),
)


def _torchvision() -> tuple[Rule, ...]:
    """Stages and reductions in turn in one list of features."""
    rules = [
        linear("embed.patches.project", "features.0.0"),
        linear("embed.parts.norm.layer", "features.0.2"),
        linear("encoder.norm", "norm"),
        linear("head.classify", "head"),
    ]
    for stage in range(4):
        ours, theirs = f"encoder.blocks.{stage}.blocks.{{i}}", f"features.{2 * stage + 1}.{{i}}"
        rules += timm.block(ours, theirs, _INNER, mlp=("mlp.0", "mlp.3"))
        rules.append(Rule(f"{ours}.attention.{_INNER}.bias.table", (f"{theirs}.attn.relative_position_bias_table",)))
        rules += _merging(f"encoder.blocks.{stage}", f"features.{2 * stage}")
    return tuple(rules)


LAYOUTS = (
    TIMM,
    OFFICIAL,
    _HUB,
    _MODULES,
    Layout("torchvision Swin", _torchvision(), _COMPUTED),
)


def _config(card: Mapping[str, Any]) -> SwinConfig:
    return SwinConfig(
        image_size=card["image_size"],
        patch_size=card["patch_size"],
        embed_dim=card["embed_dim"],
        depths=tuple(card["depths"]),
        num_heads=tuple(card["num_heads"]),
        window_size=card["window_size"],
        mlp_ratio=card["mlp_ratio"],
        norm_eps=card["layer_norm_eps"],
    )


CONFIGS = {"swin": _config}
