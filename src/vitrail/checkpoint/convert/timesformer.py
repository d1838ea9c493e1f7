"""Layouts of TimeSformer."""

from collections.abc import Mapping
from typing import Any

from ...models.timesformer import TimeSformerConfig
from ...models.words import VideoAttention
from .expect import expect, vit_fields
from .rename import Layout, Rule, Transform, linear

_BLOCK = "encoder.blocks.{i}"
# Their patch of a frame is a tubelet of one frame here.
_PATCHES = Transform(lambda filters: filters.unsqueeze(2), lambda filters, heads: (filters.squeeze(2),))
# Path of the `MultiHeadAttention` over space in its block. If several layouts fit equally well, the first is used.
_SPACES = {"space": "attention.branch.attention", "joint": "attention.branch", "divided": "space.branch.attention"}

_OFFICIAL = {
    "embed.patches.project": "patch_embed.proj",
    "embed.parts.prefix": "cls_token",
    "embed.parts.positions": "pos_embed",
    "embed.parts.times": "time_embed",
    "encoder.norm": "norm",
    "head.classify": "head",
    _BLOCK: "blocks.{i}",
    "time.norm": "temporal_norm1",
    "time.qkv": "temporal_attn.qkv",
    "time.project": "temporal_attn.proj",
    "time.dense": "temporal_fc",
    "space.norm": "norm1",
    "space.qkv": "attn.qkv",
    "space.project": "attn.proj",
    "mlp.norm": "norm2",
    "mlp.branch.expand": "mlp.fc1",
    "mlp.branch.contract": "mlp.fc2",
}
_TRANSFORMERS = {
    "embed.patches.project": "embeddings.patch_embeddings.projection",
    "embed.parts.prefix": "embeddings.cls_token",
    "embed.parts.positions": "embeddings.position_embeddings",
    "embed.parts.times": "embeddings.time_embeddings",
    "encoder.norm": "layernorm",
    "head.classify": "classifier",
    _BLOCK: "encoder.layer.{i}",
    "time.norm": "temporal_layernorm",
    "time.qkv": "temporal_attention.attention.qkv",
    "time.project": "temporal_attention.output.dense",
    "time.dense": "temporal_dense",
    "space.norm": "layernorm_before",
    "space.qkv": "attention.attention.qkv",
    "space.project": "attention.output.dense",
    "mlp.norm": "layernorm_after",
    "mlp.branch.expand": "intermediate.dense",
    "mlp.branch.contract": "output.dense",
}


def _layout(source: str, theirs: Mapping[str, str], prefix: str, kind: str) -> Layout:
    space = _SPACES[kind]
    inside = {
        "space.norm": f"{space.split('.')[0]}.norm",
        "space.qkv": f"{space}.qkv",
        "space.project": f"{space}.project",
        **{name: name for name in ("mlp.norm", "mlp.branch.expand", "mlp.branch.contract")},
    }
    tables = ["embed.parts.prefix", "embed.parts.positions"]
    if kind != "space":
        tables.append("embed.parts.times")
    if kind == "divided":
        time = "time.branch.attention"
        inside |= {"time.norm": "time.norm", "time.qkv": f"{time}.qkv"}
        inside |= {"time.project": f"{time}.project.project", "time.dense": f"{time}.project.dense"}
    patches = "embed.patches.project"
    return Layout(
        f"{source} TimeSformer, {kind}",
        (
            Rule(f"{patches}.weight", (f"{theirs[patches]}.weight",), _PATCHES),
            Rule(f"{patches}.bias", (f"{theirs[patches]}.bias",)),
            *(Rule(f"{table}.weight", (theirs[table],)) for table in tables),
            *(linear(f"{_BLOCK}.{ours}", f"{theirs[_BLOCK]}.{theirs[name]}") for name, ours in inside.items()),
            *(linear(name, theirs[name]) for name in ("encoder.norm", "head.classify")),
        ),
        prefixes=(prefix,),
    )


LAYOUTS = tuple(
    _layout(source, theirs, prefix, kind)
    for source, theirs, prefix in (("official", _OFFICIAL, "model."), ("transformers", _TRANSFORMERS, "timesformer."))
    for kind in _SPACES
)
_KINDS: dict[str, VideoAttention] = {
    "divided_space_time": "divided",
    "joint_space_time": "joint",
    "space_only": "space",
}


def _config(card: Mapping[str, Any]) -> TimeSformerConfig:
    expect(card, hidden_act="gelu", qkv_bias=True)
    return TimeSformerConfig(
        **vit_fields(card),
        num_frames=card["num_frames"],
        attention=_KINDS[card["attention_type"]],
    )


CONFIGS = {"timesformer": _config}
