"""Layouts of hybrid ViTs: those of a ViT and of the ResNet before it."""

from . import official, timm
from .rename import Layout, Rule, Transform, linear

_OURS = "embed.patches.backbone"
_PROJECT = "embed.patches.patches.project"
_THIRD = (0, 1, 2)
# Units of the largest published ResNet by stage: the official names count from one, so each unit has its own rules.
_DEPTHS = (3, 4, 9, 3)
_FACTORS = Transform(lambda factors: factors.flatten(), lambda factors, heads: (factors,))


def _timm(stem: str) -> tuple[Rule, ...]:
    unit, theirs = f"{_OURS}.stages.{{s}}.{{i}}", "patch_embed.backbone.stages.{s}.blocks.{i}"
    rules = [linear(f"{_OURS}.stem.{part}", f"{stem}.{part}") for part in ("conv", "norm")]
    for part in ("conv", "norm"):
        rules += [linear(f"{unit}.layers.{n}.{part}", f"{theirs}.{part}{n + 1}") for n in _THIRD]
        rules.append(linear(f"{unit}.shortcut.{part}", f"{theirs}.downsample.{part}"))
    return (linear(_PROJECT, "patch_embed.proj"), *rules, *timm.CLASS, *timm.block(), *timm.WITHOUT_PATCHES)


def _official_unit(ours: str, conv: str, norm: str) -> tuple[Rule, ...]:
    factors = (("weight", "scale"), ("bias", "bias"))
    return (
        Rule(f"{ours}.conv.weight", (f"{conv}/kernel",), official.PATCHES),
        *(Rule(f"{ours}.norm.{part}", (f"{norm}/{name}",), _FACTORS) for part, name in factors),
    )


def _official() -> tuple[Rule, ...]:
    rules = [*_official_unit(f"{_OURS}.stem", "conv_root", "gn_root")]
    for stage, depth in enumerate(_DEPTHS):
        for number in range(depth):
            unit, theirs = f"{_OURS}.stages.{stage}.{number}", f"block{stage + 1}/unit{number + 1}"
            rules += _official_unit(f"{unit}.shortcut", f"{theirs}/conv_proj", f"{theirs}/gn_proj")
            for n in _THIRD:
                rules += _official_unit(f"{unit}.layers.{n}", f"{theirs}/conv{n + 1}", f"{theirs}/gn{n + 1}")
    return (*official.linear(_PROJECT, "embedding", official.PATCHES), *rules, *official.WITHOUT_PATCHES)


LAYOUTS = (
    Layout("timm hybrid", _timm("patch_embed.backbone.stem"), preprocess=official.PREPROCESS),
    Layout("timm hybrid, stem only", _timm("patch_embed.backbone"), preprocess=official.PREPROCESS),
    Layout("official hybrid npz", _official(), preprocess=official.PREPROCESS),
)
