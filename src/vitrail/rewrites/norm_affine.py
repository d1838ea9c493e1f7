"""Exact rewrite: weights and biases of layer norms become part of the linear layers behind them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..errors import VitrailError
from ..nn import (
    MLP,
    ClassAttention,
    ConvMerging,
    ConvMLP,
    JointProjection,
    JointProjectionWithoutKeyBias,
    LinearOfMean,
    LinearOfNorm,
    MultiHeadAttention,
    PackedAttention,
    PatchMerging,
    PerToken,
    PrefixOnly,
    PrefixQueries,
    ReducedProjection,
    Residual,
    Sum,
    SwiGLU,
)
from .base import Rewrite

Layer = nn.Linear | nn.Conv2d


@dataclass(frozen=True, slots=True)
class FoldNormAffine(Rewrite):
    """Fold weight and bias of each layer norm into the linear layers that read it: W (γ x + β) + b = (W γ) x + W β + b.

    A norm is kept if anything else reads it: a layer that pads with zeros, the residual stream of a post-norm block, or
    the head, since the embedding of an image is the output of the last norm.
    """

    def __call__(self, model: nn.Module) -> None:
        found = [_folded(holder, name, readers) for holder in list(model.modules()) for name, readers in _norms(holder)]
        if not any(found):
            raise VitrailError("this model has no norm that could be folded: leave fold_norm_affine out")


def _norms(holder: nn.Module) -> Iterator[tuple[str, list[Layer]]]:
    """Name of each norm of a module, and the linear layers that read it; none if something else reads it too."""
    if isinstance(holder, Residual):
        yield "norm", _readers(holder.branch)
    elif isinstance(holder, MLP | SwiGLU):
        yield "norm", _readers(holder.contract)
    elif isinstance(holder, LinearOfNorm):
        yield "norm", [holder]
    elif isinstance(holder, PatchMerging | ConvMerging):
        yield "norm", [holder.project]
    elif isinstance(holder, nn.Sequential):  # the norm inside ConvNeXt's branch
        parts = list(holder.named_children())
        for (name, first), (_, second) in pairwise(parts):
            if isinstance(first, PerToken) and isinstance(second, MLP):
                yield f"{name}.layer", _readers(second)


def _readers(branch: nn.Module) -> list[Layer]:
    """The layers that read the input of a branch, if all are linear; otherwise none."""
    if isinstance(branch, MLP | SwiGLU | ConvMLP):
        return _readers(branch.expand)
    if isinstance(branch, nn.Linear):
        return [] if parametrize.is_parametrized(branch) else [branch]
    if isinstance(branch, MultiHeadAttention | PackedAttention):
        return _projections(branch.qkv)
    if isinstance(branch, ClassAttention):
        return [branch.attention.q, branch.attention.k, branch.attention.v]
    if isinstance(branch, PrefixOnly):
        return _readers(branch.branch)
    if isinstance(branch, PrefixQueries):
        return _readers(branch.attention)
    if isinstance(branch, LinearOfMean):
        return _readers(branch.layer)
    if isinstance(branch, Sum):
        parts = [_readers(part) for part in branch.branches]
        return [layer for part in parts for layer in part] if all(parts) else []
    return []


def _projections(qkv: nn.Module) -> list[Layer]:
    if isinstance(qkv, JointProjection | JointProjectionWithoutKeyBias):
        return [] if parametrize.is_parametrized(qkv) else [qkv]
    if isinstance(qkv, ReducedProjection) and isinstance(qkv.reduce, nn.Identity):
        return [qkv.q, qkv.kv]
    return []


def _folded(holder: nn.Module, name: str, readers: list[Layer]) -> bool:
    """Fold one norm; False if it stays."""
    norm = holder.get_submodule(name)
    if type(norm) is not nn.LayerNorm or not norm.elementwise_affine or not readers:
        return False
    shift = torch.zeros_like(norm.weight) if norm.bias is None else norm.bias
    for layer in readers:
        _fold_in_front(layer, norm.weight, shift)
    for owner in [holder, *holder.modules()]:
        for child, part in list(owner.named_children()):
            if isinstance(part, JointProjectionWithoutKeyBias) and part in readers:
                setattr(owner, child, _with_key_bias(part))
    plain = nn.LayerNorm(norm.normalized_shape, norm.eps, elementwise_affine=False)
    holder.set_submodule(name, plain.train(norm.training))
    return True


def _fold_in_front(layer: Layer, scale: Tensor, shift: Tensor) -> None:
    """Change a layer in place so that it returns layer(scale · x + shift)."""
    with torch.no_grad():
        shape = (1, -1, *[1] * (layer.weight.ndim - 2))
        moved = (layer.weight * shift.view(shape)).flatten(1).sum(1)
        bias = layer.bias
        if isinstance(layer, JointProjectionWithoutKeyBias):
            query, value = layer.bias.chunk(2)
            bias = torch.cat([query, torch.zeros_like(query), value])
        layer.bias = nn.Parameter(moved if bias is None else bias + moved)
        layer.weight = nn.Parameter(layer.weight * scale.view(shape))


def _with_key_bias(layer: JointProjectionWithoutKeyBias) -> JointProjection:
    """The projection with its tensors as one that has a bias of the keys, which the shift of the norm gives it."""
    width = layer.out_features // (3 * layer.num_heads)
    with torch.device("meta"):
        made = JointProjection(layer.in_features, layer.num_heads, head_dim=width)
    made.weight, made.bias = layer.weight, layer.bias
    return made.train(layer.training)
