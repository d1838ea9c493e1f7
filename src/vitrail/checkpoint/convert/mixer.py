"""Layouts of MLP-Mixer."""

from . import official
from .rename import Layout, Rule, linear

_BLOCK = "encoder.blocks.{i}"
_TIMM = (
    linear("embed.patches.project", "stem.proj"),
    linear(f"{_BLOCK}.tokens.norm", "blocks.{i}.norm1"),
    linear(f"{_BLOCK}.tokens.branch.mlp.expand", "blocks.{i}.mlp_tokens.fc1"),
    linear(f"{_BLOCK}.tokens.branch.mlp.contract", "blocks.{i}.mlp_tokens.fc2"),
    linear(f"{_BLOCK}.mlp.norm", "blocks.{i}.norm2"),
    linear(f"{_BLOCK}.mlp.branch.expand", "blocks.{i}.mlp_channels.fc1"),
    linear(f"{_BLOCK}.mlp.branch.contract", "blocks.{i}.mlp_channels.fc2"),
    linear("encoder.norm", "norm"),
    linear("head.classify", "head"),
)


def _official() -> tuple[Rule, ...]:
    theirs = "MixerBlock_{i}"
    rules = [
        *official.linear("embed.patches.project", "stem", official.PATCHES),
        *official.norm(f"{_BLOCK}.tokens.norm", f"{theirs}/LayerNorm_0"),
        *official.norm(f"{_BLOCK}.mlp.norm", f"{theirs}/LayerNorm_1"),
        *official.norm("encoder.norm", "pre_head_layer_norm"),
        *official.linear("head.classify", "head"),
    ]
    for ours, name in (("tokens.branch.mlp", "token_mixing"), ("mlp.branch", "channel_mixing")):
        rules += official.linear(f"{_BLOCK}.{ours}.expand", f"{theirs}/{name}/Dense_0")
        rules += official.linear(f"{_BLOCK}.{ours}.contract", f"{theirs}/{name}/Dense_1")
    return tuple(rules)


LAYOUTS = (
    Layout("timm Mixer", _TIMM),
    Layout("official Mixer npz", _official(), preprocess=official.PREPROCESS),
)
