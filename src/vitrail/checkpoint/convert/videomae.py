"""VideoMAE's names, elsewhere."""

from collections.abc import Mapping
from typing import Any

from ...errors import VitrailError
from ...models.videomae import VideoMAEConfig
from . import timm
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
        _biases("blocks.{i}.attn", "q_bias", "v_bias"),  # before the usual ones, which would have one of keys
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
            linear(f"{_BLOCK}.attention.norm", f"{theirs}.layernorm_before"),
            Rule(f"{_QKV}.weight", tuple(f"{attention}.{part}.weight" for part in ("query", "key", "value")), STACK),
            _biases(attention, q, v),
            linear(f"{_BLOCK}.attention.branch.project", f"{theirs}.attention.output.dense"),
            linear(f"{_BLOCK}.mlp.norm", f"{theirs}.layernorm_after"),
            linear(f"{_BLOCK}.mlp.branch.expand", f"{theirs}.intermediate.dense"),
            linear(f"{_BLOCK}.mlp.branch.contract", f"{theirs}.output.dense"),
            linear("head.norm", "fc_norm"),
            linear("head.classify", "classifier"),
        ),
        _PRETRAINING,
        ("videomae.",),
        {"norm_eps": 1e-12, "pool_norm_eps": 1e-5},
    )


LAYOUTS = (OFFICIAL, _transformers("files", "q_bias", "v_bias"), _transformers("modules", "query.bias", "value.bias"))


def _config(card: Mapping[str, Any]) -> VideoMAEConfig:
    for name in ("qv_bias", "use_mean_pooling"):
        if not card.get(name, True):
            raise VitrailError(f"these weights of VideoMAE have {name}=False: read are those with True")
    dim = card["hidden_size"]
    return VideoMAEConfig(
        image_size=card["image_size"],
        num_frames=card["num_frames"],
        patch_size=card["patch_size"],
        tubelet_frames=card["tubelet_size"],
        embed_dim=dim,
        depth=card["num_hidden_layers"],
        num_heads=card["num_attention_heads"],
        mlp_ratio=card["intermediate_size"] / dim,
        norm_eps=card["layer_norm_eps"],
        pool_norm_eps=1e-5,
    )


CONFIGS = {"videomae": _config}
