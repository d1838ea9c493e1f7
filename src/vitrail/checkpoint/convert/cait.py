"""Layouts of CaiT. timm's names are those of the official release."""

from . import timm
from .rename import Layout, Rule, linear

_PATCHES, _CLASS = "encoder.blocks.0.blocks.{i}", "encoder.blocks.1.blocks.{i}"


def _scales(ours: str, theirs: str) -> tuple[Rule, ...]:
    return (
        Rule(f"{ours}.attention.scale.weight", (f"{theirs}.gamma_1",)),
        Rule(f"{ours}.mlp.scale.weight", (f"{theirs}.gamma_2",)),
    )


def _class_block(ours: str, theirs: str) -> tuple[Rule, ...]:
    inner = f"{ours}.attention.branch.attention"
    return (
        linear(f"{ours}.attention.norm", f"{theirs}.norm1"),
        *(linear(f"{inner}.{part}", f"{theirs}.attn.{part}") for part in ("q", "k", "v")),
        linear(f"{inner}.project", f"{theirs}.attn.proj"),
        linear(f"{ours}.mlp.norm", f"{theirs}.norm2"),
        linear(f"{ours}.mlp.branch.branch.expand", f"{theirs}.mlp.fc1"),
        linear(f"{ours}.mlp.branch.branch.contract", f"{theirs}.mlp.fc2"),
    )


LAYOUTS = (
    Layout(
        "timm CaiT",
        (
            linear("embed.patches.project", "patch_embed.proj"),
            Rule("embed.parts.positions.weight", ("pos_embed",)),
            Rule("encoder.blocks.1.reduce.weight", ("cls_token",)),
            *timm.block(_PATCHES, "blocks.{i}"),
            linear(f"{_PATCHES}.attention.branch.attend.mix_scores", "blocks.{i}.attn.proj_l"),
            linear(f"{_PATCHES}.attention.branch.attend.mix_weights", "blocks.{i}.attn.proj_w"),
            *_scales(_PATCHES, "blocks.{i}"),
            *_class_block(_CLASS, "blocks_token_only.{i}"),
            *_scales(_CLASS, "blocks_token_only.{i}"),
            linear("encoder.norm", "norm"),
            linear("head.classify", "head"),
        ),
        prefixes=("module.",),
    ),
)
