"""Exact rewrite: the division of attention scores by √d becomes part of the query projection."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import parametrize

from ..errors import VitrailError
from ..nn import (
    Attend,
    BakedRotation,
    ConvProjection,
    CrossAttention,
    GridRotaryPositions,
    JointProjection,
    JointProjectionWithoutKeyBias,
    LearnedRotaryPositions,
    MultiHeadAttention,
    NoRefinement,
    PlacedProjection,
    ReducedProjection,
    RotaryPositions,
    ScaledQueries,
    UnscaledAttend,
)
from .base import Rewrite

_LINEAR = (NoRefinement, BakedRotation, RotaryPositions, GridRotaryPositions, LearnedRotaryPositions, ScaledQueries)
"""Refinements that are linear in the queries: a factor before them is a factor after them. Norms are not."""


@dataclass(frozen=True, slots=True)
class FoldQueryScale(Rewrite):
    """Fold the factor 1 / √d of the attention scores into the projection of the queries.

    Attentions with norms of queries and keys, and those that mix heads, keep theirs.
    """

    def __call__(self, model: nn.Module) -> None:
        found = [_folded(module) for module in list(model.modules())]
        if not any(found):
            raise VitrailError("this model has no scale of queries that could be folded: leave fold_query_scale out")


def _folded(attention: nn.Module) -> bool:
    """Fold the scale of one attention; False if it stays."""
    if isinstance(attention, CrossAttention) and type(attention.attend) is Attend:
        width = attention.q.out_features // attention.num_heads
        if parametrize.is_parametrized(attention.q):
            return False
        _multiply(attention.q, width**-0.5, attention.q.out_features)
    elif isinstance(attention, MultiHeadAttention) and type(attention.attend) is Attend:
        layer = _query_layer(attention.qkv)
        if layer is None or not isinstance(attention.refine, _LINEAR) or parametrize.is_parametrized(layer):
            return False
        rows = layer.out_features if layer is not attention.qkv else layer.out_features // 3
        factor = (rows // attention.num_heads) ** -0.5
        if isinstance(attention.refine, ScaledQueries):
            factor *= attention.refine.factor
            attention.refine = NoRefinement()
        _multiply(layer, factor, rows)
    else:
        return False
    attention.attend = UnscaledAttend(attention.attend.kernel)
    return True


def _query_layer(qkv: nn.Module) -> nn.Linear | None:
    """The linear layer whose first rows make the queries."""
    if isinstance(qkv, JointProjection | JointProjectionWithoutKeyBias | PlacedProjection):
        return qkv
    if isinstance(qkv, ReducedProjection):
        return qkv.q
    return qkv.q.linear if isinstance(qkv, ConvProjection) else None


def _multiply(layer: nn.Linear, factor: float, rows: int) -> None:
    """Multiply the first rows of a layer's output, in place."""
    with torch.no_grad():
        for name, tensor in list(layer.named_parameters(recurse=False)):
            scaled = torch.cat([tensor[:rows] * factor, tensor[rows:]])
            setattr(layer, name, nn.Parameter(scaled))
