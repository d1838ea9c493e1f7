"""Layout of timm's ViT with parallel residuals."""

from .rename import Layout, Rule, linear
from .timm import TIMM

_OURS, _THEIRS = "encoder.blocks.{i}", "blocks.{i}"
_ATTENTION, _MLP = f"{_OURS}.attention.residuals.{{s}}", f"{_OURS}.mlp.residuals.{{s}}"

LAYOUTS = (
    Layout(
        "timm, parallel",
        (
            *(rule for rule in TIMM.rules if _OURS not in rule.ours),
            linear(f"{_ATTENTION}.norm", f"{_THEIRS}.attns.{{s}}.norm"),
            linear(f"{_ATTENTION}.branch.qkv", f"{_THEIRS}.attns.{{s}}.attn.qkv"),
            linear(f"{_ATTENTION}.branch.project", f"{_THEIRS}.attns.{{s}}.attn.proj"),
            Rule(f"{_ATTENTION}.scale.weight", (f"{_THEIRS}.attns.{{s}}.ls.gamma",)),
            linear(f"{_MLP}.norm", f"{_THEIRS}.ffns.{{s}}.norm"),
            linear(f"{_MLP}.branch.expand", f"{_THEIRS}.ffns.{{s}}.mlp.fc1"),
            linear(f"{_MLP}.branch.contract", f"{_THEIRS}.ffns.{{s}}.mlp.fc2"),
            Rule(f"{_MLP}.scale.weight", (f"{_THEIRS}.ffns.{{s}}.ls.gamma",)),
        ),
        prefixes=TIMM.prefixes,
    ),
)
