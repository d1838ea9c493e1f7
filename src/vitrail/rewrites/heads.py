"""Exact rewrite: attention heads that are not used are removed from the projections."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..errors import VitrailError
from ..nn import (
    Attend,
    GridRotaryPositions,
    JointProjection,
    JointProjectionWithoutKeyBias,
    MultiHeadAttention,
    NoBias,
    NoRefinement,
    QKNorm,
    RotaryPositions,
    ScaledQueries,
    SharedBiasEncoder,
)
from .base import Rewrite

_SAME_FOR_ALL = (NoRefinement, QKNorm, RotaryPositions, GridRotaryPositions, ScaledQueries)
"""Refinements of queries and keys that are the same in every head."""


@dataclass(frozen=True, slots=True)
class DropHeads(Rewrite):
    """Remove attention heads. The outputs are those of the model in which these heads add nothing.

    Attributes:
        heads: (layer, head) pairs, both from 0; layers are the self-attentions in the order of the model.

    Heads with a bias of the scores, or whose scores are mixed with those of others, cannot be removed.
    """

    heads: tuple[tuple[int, int], ...] = ()

    def __call__(self, model: nn.Module) -> None:
        layers = [module for module in model.modules() if isinstance(module, MultiHeadAttention)]
        dropped: dict[int, set[int]] = defaultdict(set)
        for pair in self.heads:
            if not isinstance(pair, tuple) or [type(number) for number in pair] != [int, int]:
                raise VitrailError(f"{pair!r} is not a (layer, head) pair of whole numbers: write ((0, 2), (3, 1))")
            dropped[pair[0]].add(pair[1])
        if not dropped:
            raise VitrailError("no heads are named: give (layer, head) pairs")
        shared = any(isinstance(module, SharedBiasEncoder) for module in model.modules())
        for layer, heads in dropped.items():
            if not 0 <= layer < len(layers):
                raise VitrailError(f"there is no layer {layer}: the model has {len(layers)} self-attentions, from 0")
            _check(layers[layer], layer, heads, shared)
        for layer, heads in dropped.items():
            _drop(layers[layer], [head for head in range(layers[layer].num_heads) if head not in heads])


def _check(attention: MultiHeadAttention, layer: int, heads: set[int], shared_bias: bool) -> None:
    count = attention.num_heads
    if unknown := sorted(head for head in heads if not 0 <= head < count):
        raise VitrailError(f"layer {layer} has no head {unknown[0]}: it has {count}, from 0")
    if len(heads) == count:
        raise VitrailError(f"layer {layer} would have no head left: keep one of its {count}")
    apart = (
        not shared_bias
        and isinstance(attention.qkv, JointProjection | JointProjectionWithoutKeyBias)
        and isinstance(attention.bias, NoBias)
        and isinstance(attention.attend, Attend)
        and type(attention.project) is nn.Linear
        and isinstance(attention.refine, _SAME_FOR_ALL)
    )
    if not apart or any(parametrize.is_parametrized(part) for part in (attention.qkv, attention.project)):
        raise VitrailError(
            f"heads of layer {layer} cannot be removed: they share parts, such as a bias of the scores, or another "
            "rewrite has changed them; choose another layer, or drop heads before fold_query_scale and after merge_lora"
        )


def _drop(attention: MultiHeadAttention, kept: Sequence[int]) -> None:
    count, joint, project = attention.num_heads, attention.qkv, attention.project
    assert isinstance(joint, JointProjection | JointProjectionWithoutKeyBias)
    assert isinstance(project, nn.Linear)
    rows = len(joint.weight) // 3
    with torch.no_grad():
        joint.weight = nn.Parameter(_of_heads(joint.weight, 3, count, kept))
        if joint.bias is not None:
            joint.bias = nn.Parameter(_of_heads(joint.bias, len(joint.bias) // rows, count, kept))
        project.weight = nn.Parameter(_of_heads(project.weight.t(), 1, count, kept).t().contiguous())
    joint.out_features, project.in_features = joint.weight.shape[0], project.weight.shape[1]
    attention.num_heads = joint.num_heads = len(kept)


def _of_heads(tensor: Tensor, parts: int, count: int, kept: Sequence[int]) -> Tensor:
    """The rows of some heads, in each of the parts (queries, keys, values): (parts × heads × d, ...) ->
    (parts × kept × d, ...)."""
    split = tensor.unflatten(0, (parts, count, -1))
    return torch.cat([split[:, head : head + 1] for head in kept], dim=1).flatten(0, 2)
