"""BEiT's names, elsewhere; timm's are also those of the official releases of BEiT and BEiT v2."""

from collections.abc import Mapping
from typing import Any

from ...models.beit import BEiTConfig
from . import timm
from .expect import expect
from .rename import PAIR, STACK, Layout, Rule, linear

_BLOCK = "encoder.blocks.{i}"
_QKV = f"{_BLOCK}.attention.branch.qkv"
_TABLE = f"{_BLOCK}.attention.branch.bias.table"
_COMPUTED = "{x}.relative_position_index"

_TIMM = Layout(
    "timm BEiT",
    (
        Rule(f"{_QKV}.bias", ("blocks.{i}.attn.q_bias", "blocks.{i}.attn.v_bias"), PAIR),
        Rule(_TABLE, ("blocks.{i}.attn.relative_position_bias_table",)),
        *timm.block(),
        *timm.scales("gamma_1", "gamma_2"),
        *timm.CLASS,
        linear("embed.patches.project", "patch_embed.proj"),
        linear("head.norm", "fc_norm"),
        linear("head.classify", "head"),
    ),
    (_COMPUTED,),
    ("module.",),
)


def _transformers(
    kind: str, theirs: str, qkv: tuple[str, str, str], project: str, mlp: tuple[str, str], table: str
) -> Layout:
    query, key, value = (f"{theirs}.attention.{part}" for part in qkv)
    rules = (
        Rule(f"{_QKV}.weight", (f"{query}.weight", f"{key}.weight", f"{value}.weight"), STACK),
        Rule(f"{_QKV}.bias", (f"{query}.bias", f"{value}.bias"), PAIR),
        Rule(_TABLE, (f"{theirs}.{table}.relative_position_bias_table",)),
        linear("embed.patches.project", "embeddings.patch_embeddings.projection"),
        Rule("embed.parts.prefix.weight", ("embeddings.cls_token",)),
        linear(f"{_BLOCK}.attention.norm", f"{theirs}.layernorm_before"),
        linear(f"{_BLOCK}.attention.branch.project", f"{theirs}.attention.{project}"),
        Rule(f"{_BLOCK}.attention.scale.weight", (f"{theirs}.lambda_1",)),
        linear(f"{_BLOCK}.mlp.norm", f"{theirs}.layernorm_after"),
        linear(f"{_BLOCK}.mlp.branch.expand", f"{theirs}.{mlp[0]}"),
        linear(f"{_BLOCK}.mlp.branch.contract", f"{theirs}.{mlp[1]}"),
        Rule(f"{_BLOCK}.mlp.scale.weight", (f"{theirs}.lambda_2",)),
        linear("head.norm", "pooler.layernorm"),
        linear("head.classify", "classifier"),
    )
    preprocess = {"crop": 1.0, "interpolation": "bicubic", "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    unused = (_COMPUTED, "embeddings.mask_token")
    return Layout(f"transformers BEiT ({kind})", rules, unused, ("beit.",), preprocess=preprocess)


LAYOUTS = (
    _TIMM,
    _transformers(
        "files",
        "encoder.layer.{i}",
        ("attention.query", "attention.key", "attention.value"),
        "output.dense",
        ("intermediate.dense", "output.dense"),
        "attention.attention.relative_position_bias",
    ),
    _transformers(
        "modules",
        "layers.{i}",
        ("q_proj", "k_proj", "v_proj"),
        "o_proj",
        ("mlp.fc1", "mlp.fc2"),
        "relative_position_bias",
    ),
)


def _config(card: Mapping[str, Any]) -> BEiTConfig:
    expect(card, use_relative_position_bias=True, use_shared_relative_position_bias=False, use_mean_pooling=True)
    expect(card, use_absolute_position_embeddings=False, hidden_act="gelu")
    return BEiTConfig(
        image_size=card["image_size"],
        patch_size=card["patch_size"],
        embed_dim=card["hidden_size"],
        depth=card["num_hidden_layers"],
        num_heads=card["num_attention_heads"],
        mlp_ratio=card["intermediate_size"] / card["hidden_size"],
        layer_scale=card["layer_scale_init_value"],
        norm_eps=card["layer_norm_eps"],
    )


CONFIGS = {"beit": _config}
