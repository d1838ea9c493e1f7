"""CvT's names elsewhere."""

from collections.abc import Mapping
from typing import Any

from ...models.cvt import CvTConfig
from .pvt_v2 import patches
from .rename import Layout, Rule, batch_norm, linear

_BLOCK = "encoder.blocks.{s}.blocks.{i}"
_STAGES = range(3)


def _embeds(theirs: str, project: str, norm: str) -> tuple[Rule, ...]:
    """The patches of each stage, and the class token of the last, inside of whose embedding they stand."""
    first = patches("embed", theirs.format(s=0), project, norm)
    second = patches("encoder.blocks.1.reduce.embed", theirs.format(s=1), project, norm)
    return first + second + patches("encoder.blocks.2.reduce.embed.patches", theirs.format(s=2), project, norm)


def _projection(ours: str, conv: str, norm: str, layer: str) -> tuple[Rule, ...]:
    ours = f"{_BLOCK}.attention.branch.qkv.{ours}"
    return Rule(f"{ours}.conv.weight", (f"{conv}.weight",)), *batch_norm(f"{ours}.norm", norm), linear(f"{ours}.linear", layer)


def _official() -> tuple[Rule, ...]:
    rules: list[Rule] = []
    return tuple(rules)
