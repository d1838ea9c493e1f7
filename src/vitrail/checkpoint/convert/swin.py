"""Layouts of Swin."""

from collections.abc import Callable, Mapping
from typing import Any

from ...models.swin import SwinConfig
from . import timm, torchvision
from .block import named_block
from .expect import expect
from .rename import Layout, Rule, linear
from .transformers import NORMS

_STAGE = "encoder.blocks.{s}"
_BLOCK = f"{_STAGE}.blocks.{{i}}"
_INNER = "branch.attention"
_TABLE = f"{_BLOCK}.attention.{_INNER}.bias.table"
# Computed from the window size; some sources save them.
_NORM_EPS = 1e-5
PAD_FIRST = {"pad_first": True}
_COMPUTED = ("{x}.relative_position_index", "{x}.attn_mask")


def merging(ours: str, theirs: str) -> tuple[Rule, ...]:
    """Rules for the reduction before a stage."""
    return (
        linear(f"{ours}.reduce.norm", f"{theirs}.norm"),
        Rule(f"{ours}.reduce.project.weight", (f"{theirs}.reduction.weight",)),
    )


def merging_before(root: str) -> tuple[Rule, ...]:
    """Rules for the reductions in sources where each is the end of the previous stage."""
    rules = (merging(f"encoder.blocks.{stage}", f"{root}.{stage - 1}.downsample") for stage in (1, 2, 3))
    return tuple(rule for both in rules for rule in both)


def ends(project: str, first: str, norm: str, classify: str) -> tuple[Rule, ...]:
    """Rules for the patches, the last norm and the classifier."""
    return (
        linear("embed.patches.project", project),
        linear("embed.parts.norm.layer", first),
        linear("encoder.norm", norm),
        linear("head.classify", classify),
    )


def timm_ends(classify: str) -> tuple[Rule, ...]:
    return ends("patch_embed.proj", "patch_embed.norm", "norm", classify)


def in_features(block: Callable[[str, str], tuple[Rule, ...]]) -> tuple[Rule, ...]:
    """Rules for torchvision's list of alternating stages and reductions. `block(ours, theirs)` has those of a block."""
    rules = [*ends("features.0.0", "features.0.2", "norm", "head")]
    for stage in range(4):
        rules += block(f"encoder.blocks.{stage}.blocks.{{i}}", f"features.{2 * stage + 1}.{{i}}")
        rules += merging(f"encoder.blocks.{stage}", f"features.{2 * stage}")
    return tuple(rules)


TRANSFORMERS = (
    *ends("embeddings.patch_embeddings.projection", "embeddings.norm", "layernorm", "classifier"),
    *merging_before("encoder.layers"),
)
"""Rules for the parts around transformers' blocks."""
_TIMM_BLOCKS = (
    *timm.block(_BLOCK, "layers.{s}.blocks.{i}", _INNER),
    Rule(_TABLE, ("layers.{s}.blocks.{i}.attn.relative_position_bias_table",)),
)
TIMM = Layout(
    "timm Swin",
    (*timm_ends("head.fc"), *_TIMM_BLOCKS, *merging(_STAGE, "layers.{s}.downsample")),
    _COMPUTED,
)
OFFICIAL = Layout("official Swin", (*timm_ends("head"), *_TIMM_BLOCKS, *merging_before("layers")), _COMPUTED)


def _transformers(kind: str, qkv: tuple[str, str, str], project: str, mlp: tuple[str, str], table: str) -> Layout:
    theirs = "encoder.layers.{s}.blocks.{i}"
    rules = named_block(theirs, norms=NORMS, qkv=qkv, project=project, mlp=mlp, ours=_BLOCK, attention=_INNER)
    bias = Rule(_TABLE, (f"{theirs}.attention.{table}.relative_position_bias_table",))
    return Layout(
        f"transformers Swin ({kind})",
        (*TRANSFORMERS, *rules, bias),
        (*_COMPUTED, "embeddings.mask_token"),
        ("swin.",),
        PAD_FIRST,
    )


def _torchvision(ours: str, theirs: str) -> tuple[Rule, ...]:
    return (
        *timm.block(ours, theirs, _INNER, mlp=torchvision.MLP),
        Rule(f"{ours}.attention.{_INNER}.bias.table", (f"{theirs}.attn.relative_position_bias_table",)),
    )


LAYOUTS = (
    TIMM,
    OFFICIAL,
    _transformers(
        "files",
        ("attention.self.query", "attention.self.key", "attention.self.value"),
        "attention.output.dense",
        ("intermediate.dense", "output.dense"),
        "self",
    ),
    _transformers(
        "modules",
        ("attention.q_proj", "attention.k_proj", "attention.v_proj"),
        "attention.o_proj",
        ("mlp.fc1", "mlp.fc2"),
        "relative_position_bias",
    ),
    Layout("torchvision Swin", in_features(_torchvision), _COMPUTED, fields=PAD_FIRST),
)


def window_fields(card: Mapping[str, Any]) -> dict[str, Any]:
    """Config fields from transformers' configuration of Swin or Swin V2."""
    expect(card, hidden_act="gelu", qkv_bias=True, use_absolute_embeddings=False)
    expect(card, layer_norm_eps=_NORM_EPS)  # which two of the norms have whatever the field
    return {
        "image_size": card["image_size"],
        "patch_size": card["patch_size"],
        "embed_dim": card["embed_dim"],
        "depths": tuple(card["depths"]),
        "num_heads": tuple(card["num_heads"]),
        "window_size": card["window_size"],
        "mlp_ratio": card["mlp_ratio"],
        "norm_eps": _NORM_EPS,
        **PAD_FIRST,
    }


def _config(card: Mapping[str, Any]) -> SwinConfig:
    return SwinConfig(**window_fields(card))


CONFIGS = {"swin": _config}
