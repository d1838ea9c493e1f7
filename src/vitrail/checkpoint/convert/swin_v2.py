"""Layouts of Swin V2."""

from collections.abc import Mapping
from typing import Any

from ...models.swin_v2 import SwinV2Config
from . import timm, torchvision, transformers
from .block import named_block
from .rename import PAIR, STACK, WITHOUT_KEYS, Layout, Rule, Transform, linear
from .swin import PAD_FIRST, TRANSFORMERS, in_features, merging, merging_before, timm_ends, window_fields

_STAGE = "encoder.blocks.{s}"
_BLOCK = f"{_STAGE}.blocks.{{i}}"
_INNER = "branch.attention"
# Computed from the window size; some sources save them.
_COMPUTED = ("{x}.relative_position_index", "{x}.relative_coords_table", "{x}.attn_mask")

_SCALES = Transform(lambda scales: scales.flatten(), lambda scales, heads: (scales[:, None, None],))


def _attention(ours: str, theirs: str, network: str) -> tuple[Rule, ...]:
    """Rules for the scale of the scores and the MLP of relative positions in `ours`, the residual's branch."""
    return (
        Rule(f"{ours}.refine.log_scale", (f"{theirs}.logit_scale",), _SCALES),
        linear(f"{ours}.bias.network.0", f"{theirs}.{network}.0"),
        Rule(f"{ours}.bias.network.2.weight", (f"{theirs}.{network}.2.weight",)),
    )


def _block(ours: str, theirs: str, mlp: tuple[str, str]) -> tuple[Rule, ...]:
    """Rules for timm's and torchvision's block, without the biases of queries and values."""
    inner = f"{ours}.attention.{_INNER}"
    return (
        *_attention(inner, f"{theirs}.attn", "cpb_mlp"),
        Rule(f"{inner}.qkv.weight", (f"{theirs}.attn.qkv.weight",)),
        *named_block(theirs, norms=timm.NORMS, project="attn.proj", mlp=mlp, ours=ours, attention=_INNER, norm="scale"),
    )


def _timm() -> tuple[Rule, ...]:
    theirs = "layers.{s}.blocks.{i}"
    biases = (f"{theirs}.attn.q_bias", f"{theirs}.attn.v_bias")
    return (
        *_block(_BLOCK, theirs, ("mlp.fc1", "mlp.fc2")),
        Rule(f"{_BLOCK}.attention.{_INNER}.qkv.bias", biases, PAIR),
    )


def _transformers() -> tuple[Rule, ...]:
    theirs, inner = "encoder.layers.{s}.blocks.{i}", f"{_BLOCK}.attention.{_INNER}"
    attend = f"{theirs}.attention.self"
    return (
        *TRANSFORMERS,
        *_attention(inner, attend, "continuous_position_bias_mlp"),
        Rule(f"{inner}.qkv.weight", tuple(f"{attend}.{part}.weight" for part in ("query", "key", "value")), STACK),
        Rule(f"{inner}.qkv.bias", (f"{attend}.query.bias", f"{attend}.value.bias"), PAIR),
        *named_block(
            theirs,
            norms=transformers.NORMS,
            project="attention.output.dense",
            mlp=("intermediate.dense", "output.dense"),
            ours=_BLOCK,
            attention=_INNER,
            norm="scale",
        ),
    )


def _torchvision(ours: str, theirs: str) -> tuple[Rule, ...]:
    return (
        *_block(ours, theirs, torchvision.MLP),
        Rule(f"{ours}.attention.{_INNER}.qkv.bias", (f"{theirs}.attn.qkv.bias",), WITHOUT_KEYS),
    )


LAYOUTS = (
    Layout("timm Swin V2", (*timm_ends("head.fc"), *_timm(), *merging(_STAGE, "layers.{s}.downsample")), _COMPUTED),
    Layout("official Swin V2", (*timm_ends("head"), *_timm(), *merging_before("layers")), _COMPUTED),
    Layout("transformers Swin V2", _transformers(), (*_COMPUTED, "embeddings.mask_token"), ("swinv2.",), PAD_FIRST),
    Layout("torchvision Swin V2", in_features(_torchvision), _COMPUTED, fields=PAD_FIRST),
)


def _config(card: Mapping[str, Any]) -> SwinV2Config:
    return SwinV2Config(**window_fields(card), pretrained_window_sizes=tuple(card["pretrained_window_sizes"]))


CONFIGS = {"swinv2": _config}
