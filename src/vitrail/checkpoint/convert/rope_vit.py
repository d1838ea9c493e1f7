"""Layouts of ViTs with rotary positions. timm's names of "axial" ones are those of the official DeiT III."""

from . import timm
from .rename import Layout, Rule

_FREQUENCIES = "encoder.blocks.{i}.attention.branch.refine.frequencies"

LAYOUTS = (
    Layout(
        "timm ViT with rotary positions",
        (*timm.DEIT3.rules, Rule(_FREQUENCIES, ("rope.freqs.{i}",))),
        prefixes=("module.",),
        stacked={"rope.freqs": 1},
    ),
)
