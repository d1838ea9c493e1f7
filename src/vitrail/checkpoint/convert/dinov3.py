"""Layouts of DINOv3."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...models.dinov3 import DINOv3Config
from . import timm
from .expect import expect, vit_fields
from .rename import PAIR, SAME, STACK, WITHOUT_KEYS, Layout, Rule, linear

_BLOCK = "encoder.blocks.{i}"
_QKV = f"{_BLOCK}.attention.branch.qkv"
_REGISTERS = "embed.parts.registers.weight"


def _mlp(root: str, expand: tuple[str, ...], contract: str) -> tuple[Rule, ...]:
    expand = tuple(f"{root}.{part}" for part in expand)
    return (
        linear(f"{_BLOCK}.mlp.branch.expand", *expand, transform=SAME if len(expand) == 1 else PAIR),
        linear(f"{_BLOCK}.mlp.branch.contract", f"{root}.{contract}"),
    )


def _timm(kind: str, expand: tuple[str, ...]) -> Layout:
    rules = (
        Rule(f"{_QKV}.bias", ("blocks.{i}.attn.q_bias", "blocks.{i}.attn.v_bias"), PAIR),
        Rule(_REGISTERS, ("reg_token",)),
        *_mlp("blocks.{i}.mlp", expand, "fc2"),
        *timm.block(),
        *timm.scales("gamma_1", "gamma_2"),
        *timm.CLASS,
        *timm.AROUND,
    )
    doubt = 'pool "mean" assumed, as in timm\'s DINOv3: pass pool="class" if the classifier reads the class token'
    return Layout(f"timm DINOv3, {kind}", rules, fields={"gated_mlp": kind == "gated"}, doubt=doubt)


def _official(kind: str, expand: tuple[str, ...], contract: str) -> Layout:
    rules = (
        Rule(f"{_QKV}.bias", ("blocks.{i}.attn.qkv.bias",), WITHOUT_KEYS),
        Rule(_REGISTERS, ("storage_tokens",)),
        *_mlp("blocks.{i}.mlp", expand, contract),
        *timm.block(),
        *timm.scales("ls1.gamma", "ls2.gamma"),
        *timm.CLASS,
        *timm.AROUND,
    )
    # The bias mask keeps the keys' part at zero; the last name is for the small crops in the 7B model's pre-training.
    unused = ("mask_token", "blocks.{i}.attn.qkv.bias_mask", "local_cls_norm.{p}")
    computed = {"rope_embed.periods": _periods}
    fields = {"pool": "class", "gated_mlp": kind == "gated"}
    return Layout(f"official DINOv3, {kind}", rules, unused, ("backbone.",), fields, computed=computed)


def _periods(config: DINOv3Config) -> Tensor:
    quarter = config.embed_dim // config.num_heads // 4
    return config.rotary_base ** (torch.arange(quarter, dtype=torch.float32) / quarter)


def _transformers(kind: str, expand: tuple[str, ...]) -> Layout:
    theirs = "layer.{i}"
    query, key, value = (f"{theirs}.attention.{part}_proj" for part in "qkv")
    rules = (
        linear("embed.patches.project", "embeddings.patch_embeddings"),
        Rule("embed.parts.prefix.weight", ("embeddings.cls_token",)),
        Rule(_REGISTERS, ("embeddings.register_tokens",)),
        linear(f"{_BLOCK}.attention.norm", f"{theirs}.norm1"),
        Rule(f"{_QKV}.weight", (f"{query}.weight", f"{key}.weight", f"{value}.weight"), STACK),
        Rule(f"{_QKV}.bias", (f"{query}.bias", f"{value}.bias"), PAIR),
        linear(f"{_BLOCK}.attention.branch.project", f"{theirs}.attention.o_proj"),
        Rule(f"{_BLOCK}.attention.scale.weight", (f"{theirs}.layer_scale1.lambda1",)),
        linear(f"{_BLOCK}.mlp.norm", f"{theirs}.norm2"),
        *_mlp(f"{theirs}.mlp", expand, "down_proj"),
        Rule(f"{_BLOCK}.mlp.scale.weight", (f"{theirs}.layer_scale2.lambda1",)),
        linear("encoder.norm", "norm"),
    )
    fields = {"pool": "class", "gated_mlp": kind == "gated"}
    return Layout(f"transformers DINOv3, {kind}", rules, ("embeddings.mask_token",), ("model.",), fields)


LAYOUTS = (
    _timm("plain", ("fc1",)),
    _timm("gated", ("fc1_g", "fc1_x")),
    _official("plain", ("fc1",), "fc2"),
    _official("gated", ("w1", "w2"), "w3"),
    _transformers("plain", ("up_proj",)),
    _transformers("gated", ("gate_proj", "up_proj")),
)


def _config(card: Mapping[str, Any]) -> DINOv3Config:
    gated, qkv_bias = card["use_gated_mlp"], card["query_bias"]
    expect(card, hidden_act="silu" if gated else "gelu")
    expect(card, key_bias=False, value_bias=qkv_bias, proj_bias=True, mlp_bias=True)
    return DINOv3Config(
        **vit_fields(card),
        qkv_bias=qkv_bias,
        gated_mlp=gated,
        registers=card["num_register_tokens"],
        rotary_base=card["rope_theta"],
        pool="class",
    )


CONFIGS = {"dinov3_vit": _config}
