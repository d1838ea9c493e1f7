"""Layouts of BEiT. timm's names are also those of the official releases of BEiT and BEiT v2."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from ...models.beit import BEiTConfig, MaskedBEiTConfig
from . import timm
from .expect import expect, vit_fields
from .rename import PAIR, STACK, Layout, Rule, linear

_BLOCK = "encoder.blocks.{i}"
_QKV = f"{_BLOCK}.attention.branch.qkv"
_TABLE = f"{_BLOCK}.attention.branch.bias.table"
_COMPUTED = "{x}.relative_position_index"

_SHARED_TABLE = "encoder.bias.table"


def _timm(name: str, *others: Rule) -> Layout:
    rules = (
        Rule(f"{_QKV}.bias", ("blocks.{i}.attn.q_bias", "blocks.{i}.attn.v_bias"), PAIR),
        *timm.block(),
        *timm.scales("gamma_1", "gamma_2"),
        *timm.CLASS,
        linear("embed.patches.project", "patch_embed.proj"),
        *others,
    )
    return Layout(name, rules, (_COMPUTED,), ("module.",))


_TIMM = _timm(
    "timm BEiT",
    Rule(_TABLE, ("blocks.{i}.attn.relative_position_bias_table",)),
    linear("head.norm", "fc_norm"),
    linear("head.classify", "head"),
)
_OFFICIAL_PRETRAINING = _timm(
    "official BEiT, pre-training",
    Rule(_SHARED_TABLE, ("rel_pos_bias.relative_position_bias_table",)),
    Rule("embed.mask_token", ("mask_token",)),
    Rule("embed.parts.positions.weight", ("pos_embed",)),
    linear("encoder.norm", "norm"),
    linear("head.classify", "lm_head"),
)


def _transformers(
    kind: str,
    theirs: str,
    qkv: tuple[str, str, str],
    project: str,
    mlp: tuple[str, str],
    table: str,
    shared_table: str,
) -> tuple[Layout, Layout]:
    query, key, value = (f"{theirs}.attention.{part}" for part in qkv)
    rules = (
        Rule(f"{_QKV}.weight", (f"{query}.weight", f"{key}.weight", f"{value}.weight"), STACK),
        Rule(f"{_QKV}.bias", (f"{query}.bias", f"{value}.bias"), PAIR),
        linear("embed.patches.project", "embeddings.patch_embeddings.projection"),
        Rule("embed.parts.prefix.weight", ("embeddings.cls_token",)),
        linear(f"{_BLOCK}.attention.norm", f"{theirs}.layernorm_before"),
        linear(f"{_BLOCK}.attention.branch.project", f"{theirs}.attention.{project}"),
        Rule(f"{_BLOCK}.attention.scale.weight", (f"{theirs}.lambda_1",)),
        linear(f"{_BLOCK}.mlp.norm", f"{theirs}.layernorm_after"),
        linear(f"{_BLOCK}.mlp.branch.expand", f"{theirs}.{mlp[0]}"),
        linear(f"{_BLOCK}.mlp.branch.contract", f"{theirs}.{mlp[1]}"),
        Rule(f"{_BLOCK}.mlp.scale.weight", (f"{theirs}.lambda_2",)),
    )
    classes = (
        Rule(_TABLE, (f"{theirs}.{table}.relative_position_bias_table",)),
        linear("head.norm", "pooler.layernorm"),
        linear("head.classify", "classifier"),
    )
    pretraining = (
        Rule(_SHARED_TABLE, (f"{shared_table}.relative_position_bias_table",)),
        Rule("embed.mask_token", ("embeddings.mask_token",)),
        Rule("embed.parts.positions.weight", ("embeddings.position_embeddings",)),
        linear("encoder.norm", "layernorm"),
        linear("head.classify", "lm_head"),
    )
    preprocess = {"crop": 1.0, "interpolation": "bicubic", "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    layout = partial(Layout, prefixes=("beit.",), preprocess=preprocess)
    unused = (_COMPUTED, "embeddings.mask_token")
    return (
        layout(f"transformers BEiT ({kind})", (*rules, *classes), unused),
        layout(f"transformers BEiT, pre-training ({kind})", (*rules, *pretraining), (_COMPUTED,)),
    )


LAYOUTS = (
    _TIMM,
    _OFFICIAL_PRETRAINING,
    *_transformers(
        "files",
        "encoder.layer.{i}",
        ("attention.query", "attention.key", "attention.value"),
        "output.dense",
        ("intermediate.dense", "output.dense"),
        "attention.attention.relative_position_bias",
        "encoder.relative_position_bias",
    ),
    *_transformers(
        "modules",
        "layers.{i}",
        ("q_proj", "k_proj", "v_proj"),
        "o_proj",
        ("mlp.fc1", "mlp.fc2"),
        "relative_position_bias",
        "shared_position_bias",
    ),
)


def _config(card: Mapping[str, Any]) -> BEiTConfig | MaskedBEiTConfig:
    pretraining = "BeitForMaskedImageModeling" in (card.get("architectures") or ())
    expect(card, use_relative_position_bias=not pretraining, use_shared_relative_position_bias=pretraining)
    expect(card, use_mean_pooling=True, hidden_act="gelu")
    shared = {**vit_fields(card), "layer_scale": card["layer_scale_init_value"]}
    if pretraining:
        positions = card["use_absolute_position_embeddings"]
        return MaskedBEiTConfig(num_classes=card["vocab_size"], absolute_positions=positions, **shared)
    expect(card, use_absolute_position_embeddings=False)
    return BEiTConfig(**shared)


CONFIGS = {"beit": _config}
