"""Layouts of DINOv2. Without registers, timm's names are those of a ViT."""

from collections.abc import Mapping
from typing import Any

from ...models.dinov2 import DINOv2Config
from . import timm
from .expect import expect
from .rename import PAIR, SAME, STACK, Layout, Rule, linear

_BLOCK = "encoder.blocks.{i}"

_REGISTERS = "embed.parts.registers.weight"


# The release resamples positions in two ways: with registers as in timm, and without registers with an offset.
_WITHOUT_REGISTERS = {"position_antialias": False, "position_offset": 0.1}


def _official(kind: str, expand: str, contract: str, *, registers: bool) -> Layout:
    blocks = timm.block(mlp=(f"mlp.{expand}", f"mlp.{contract}"))
    scales = timm.scales("ls1.gamma", "ls2.gamma")
    rules = (*timm.AROUND, *timm.CLASS, *blocks, *scales)
    if registers:
        rules += (Rule(_REGISTERS, ("register_tokens",)),)
    name = f"official DINOv2, {kind}, {'with' if registers else 'without'} registers"
    return Layout(name, rules, ("mask_token",), ("backbone.",), {} if registers else _WITHOUT_REGISTERS)


def _transformers(kind: str, attention: tuple[str, str, str, str], expand: tuple[str, ...], contract: str) -> Layout:
    theirs = "encoder.layer.{i}"
    *qkv, project = (f"{theirs}.attention.{part}" for part in attention)
    expand = tuple(f"{theirs}.mlp.{part}" for part in expand)
    rules = (
        linear("embed.patches.project", "embeddings.patch_embeddings.projection"),
        Rule("embed.parts.prefix.weight", ("embeddings.cls_token",)),
        Rule("embed.parts.positions.weight", ("embeddings.position_embeddings",)),
        Rule(_REGISTERS, ("embeddings.register_tokens",)),
        linear(f"{_BLOCK}.attention.norm", f"{theirs}.norm1"),
        linear(f"{_BLOCK}.attention.branch.qkv", *qkv, transform=STACK),
        linear(f"{_BLOCK}.attention.branch.project", project),
        Rule(f"{_BLOCK}.attention.scale.weight", (f"{theirs}.layer_scale1.lambda1",)),
        linear(f"{_BLOCK}.mlp.norm", f"{theirs}.norm2"),
        linear(f"{_BLOCK}.mlp.branch.expand", *expand, transform=SAME if len(expand) == 1 else PAIR),
        linear(f"{_BLOCK}.mlp.branch.contract", f"{theirs}.mlp.{contract}"),
        Rule(f"{_BLOCK}.mlp.scale.weight", (f"{theirs}.layer_scale2.lambda1",)),
        linear("encoder.norm", "layernorm"),
        linear("head.classify", "classifier"),
    )
    unused, prefixes = ("embeddings.mask_token",), ("dinov2.", "dinov2_with_registers.")
    return Layout(f"transformers DINOv2 ({kind})", rules, unused, prefixes)


_FILES = ("attention.query", "attention.key", "attention.value", "output.dense")
_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj")

LAYOUTS = (
    Layout("timm DINOv2", (*timm.TIMM.rules, Rule(_REGISTERS, ("reg_token",)))),
    # Layouts without registers are first: both have all names of models without registers.
    _official("plain", "fc1", "fc2", registers=False),
    _official("gated", "w12", "w3", registers=False),
    _official("plain", "fc1", "fc2", registers=True),
    _official("gated", "w12", "w3", registers=True),
    _transformers("files", _FILES, ("fc1",), "fc2"),
    _transformers("modules", _MODULES, ("fc1",), "fc2"),
    _transformers("files, gated", _FILES, ("weights_in",), "weights_out"),
    _transformers("modules, gated", _MODULES, ("gate_proj", "up_proj"), "down_proj"),
)


def _config(card: Mapping[str, Any]) -> DINOv2Config:
    expect(card, hidden_act="gelu", qkv_bias=True)  # a gated MLP has another activation
    gated, dim = card["use_swiglu_ffn"], card["hidden_size"]
    hidden = int(dim * card["mlp_ratio"])
    if gated:  # two thirds, rounded up to a multiple of 8
        hidden = (int(hidden * 2 / 3) + 7) // 8 * 8
    return DINOv2Config(
        image_size=card["image_size"],
        patch_size=card["patch_size"],
        embed_dim=dim,
        depth=card["num_hidden_layers"],
        num_heads=card["num_attention_heads"],
        mlp_ratio=hidden / dim,
        gated_mlp=gated,
        registers=card.get("num_register_tokens", 0),
        pool="both" if any("Classification" in name for name in card.get("architectures") or ()) else "class",
        norm_eps=card["layer_norm_eps"],
        position_antialias=card["model_type"] == "dinov2_with_registers",
    )


CONFIGS = {"dinov2": _config, "dinov2_with_registers": _config}
