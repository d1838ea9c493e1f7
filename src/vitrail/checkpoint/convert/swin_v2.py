"""Swin V2's names, elsewhere."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...models.swin_v2 import SwinV2Config
from .rename import PAIR, STACK, Layout, Rule, Transform, linear

_STAGE = "encoder.blocks.{s}"
_BLOCK = f"{_STAGE}.blocks.{{i}}"
_LATER = (1, 2, 3)
# Computed from the window's size; some save them.
_COMPUTED = ("{x}.relative_position_index", "{x}.relative_coords_table", "{x}.attn_mask")

_SCALES = Transform(lambda scales: scales.flatten(), lambda scales, heads: (scales[:, None, None],))


def _without_keys(bias: Tensor) -> Tensor:
    query, _, value = bias.chunk(3)
    return torch.cat([query, value])


def _with_zero_keys(bias: Tensor, heads: int) -> tuple[Tensor, ...]:
    query, value = bias.chunk(2)
    return (torch.cat([query, torch.zeros_like(query), value]),)


_WITHOUT_KEYS = Transform(_without_keys, _with_zero_keys)


def _attention(ours: str, theirs: str, network: str) -> tuple[Rule, ...]:
    """The scale and the network of the offsets, in `ours`, the residual's branch."""
    return (
        Rule(f"{ours}.refine.log_scale", (f"{theirs}.logit_scale",), _SCALES),
        linear(f"{ours}.bias.network.0", f"{theirs}.{network}.0"),
        Rule(f"{ours}.bias.network.2.weight", (f"{theirs}.{network}.2.weight",)),
    )


def _block(ours: str, theirs: str, mlp: tuple[str, str]) -> tuple[Rule, ...]:
    """timm's and torchvision's block, but for the biases of queries and values."""
    inner = f"{ours}.attention.branch.attention"
    return (
        linear(f"{ours}.attention.scale", f"{theirs}.norm1"),
        *_attention(inner, f"{theirs}.attn", "cpb_mlp"),
        Rule(f"{inner}.qkv.weight", (f"{theirs}.attn.qkv.weight",)),
        linear(f"{inner}.project", f"{theirs}.attn.proj"),
        linear(f"{ours}.mlp.scale", f"{theirs}.norm2"),
        linear(f"{ours}.mlp.branch.expand", f"{theirs}.{mlp[0]}"),
        linear(f"{ours}.mlp.branch.contract", f"{theirs}.{mlp[1]}"),
    )


def _merging(ours: str, theirs: str) -> tuple[Rule, ...]:
    return (
        linear(f"{ours}.reduce.norm", f"{theirs}.norm"),
        Rule(f"{ours}.reduce.project.weight", (f"{theirs}.reduction.weight",)),
    )


def _merging_before(root: str) -> tuple[Rule, ...]:
    """Where the reduction ends the stage before."""
    rules = (_merging(f"encoder.blocks.{stage}", f"{root}.{stage - 1}.downsample") for stage in _LATER)
    return tuple(rule for merging in rules for rule in merging)


def _timm() -> tuple[Rule, ...]:
    theirs = "layers.{s}.blocks.{i}"
    return (
        linear("embed.patches.project", "patch_embed.proj"),
        linear("embed.parts.norm.layer", "patch_embed.norm"),
        *_block(_BLOCK, theirs, ("mlp.fc1", "mlp.fc2")),
        Rule(
            f"{_BLOCK}.attention.branch.attention.qkv.bias",
            (f"{theirs}.attn.q_bias", f"{theirs}.attn.v_bias"),
            PAIR,
        ),
        linear("encoder.norm", "norm"),
    )


def _transformers() -> tuple[Rule, ...]:
    theirs, inner = "encoder.layers.{s}.blocks.{i}", f"{_BLOCK}.attention.branch.attention"
    attend = f"{theirs}.attention.self"
    return (
        linear("embed.patches.project", "embeddings.patch_embeddings.projection"),
        linear("embed.parts.norm.layer", "embeddings.norm"),
        linear(f"{_BLOCK}.attention.scale", f"{theirs}.layernorm_before"),
        *_attention(inner, attend, "continuous_position_bias_mlp"),
        Rule(f"{inner}.qkv.weight", tuple(f"{attend}.{part}.weight" for part in ("query", "key", "value")), STACK),
        Rule(f"{inner}.qkv.bias", (f"{attend}.query.bias", f"{attend}.value.bias"), PAIR),
        linear(f"{inner}.project", f"{theirs}.attention.output.dense"),
        linear(f"{_BLOCK}.mlp.scale", f"{theirs}.layernorm_after"),
        linear(f"{_BLOCK}.mlp.branch.expand", f"{theirs}.intermediate.dense"),
        linear(f"{_BLOCK}.mlp.branch.contract", f"{theirs}.output.dense"),
        *_merging_before("encoder.layers"),
        linear("encoder.norm", "layernorm"),
        linear("head.classify", "classifier"),
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
        rules += _block(ours, theirs, ("mlp.0", "mlp.3"))
        rules.append(Rule(f"{ours}.attention.branch.attention.qkv.bias", (f"{theirs}.attn.qkv.bias",), _WITHOUT_KEYS))
        rules += _merging(f"encoder.blocks.{stage}", f"features.{2 * stage}")
    return tuple(rules)


LAYOUTS = (
    Layout(
        "timm Swin V2",
        (*_timm(), *_merging(_STAGE, "layers.{s}.downsample"), linear("head.classify", "head.fc")),
        _COMPUTED,
    ),
    Layout("official Swin V2", (*_timm(), *_merging_before("layers"), linear("head.classify", "head")), _COMPUTED),
    Layout("transformers Swin V2", _transformers(), (*_COMPUTED, "embeddings.mask_token"), ("swinv2.",)),
    Layout("torchvision Swin V2", _torchvision(), _COMPUTED),
)


def _config(card: Mapping[str, Any]) -> SwinV2Config:
    return SwinV2Config(
        image_size=card["image_size"],
        patch_size=card["patch_size"],
        embed_dim=card["embed_dim"],
        depths=tuple(card["depths"]),
        num_heads=tuple(card["num_heads"]),
        window_size=card["window_size"],
        pretrained_window_sizes=tuple(card["pretrained_window_sizes"]),
        mlp_ratio=card["mlp_ratio"],
        norm_eps=card["layer_norm_eps"],
    )


CONFIGS = {"swinv2": _config}
