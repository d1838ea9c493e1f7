"""Exact rewrites that make a trained model faster: layer scales and batch norms are folded into linear layers."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..errors import VitrailError
from ..nn import (
    MLP,
    ClassAttention,
    ConvMLP,
    CrossAttention,
    LayerScale,
    LinearNorm,
    LinearOfMean,
    MultiHeadAttention,
    PrefixOnly,
    PrefixQueries,
    ReducingResidual,
    Residual,
    Sum,
    SwiGLU,
)
from ..nn.attention.projections import ConvLinear
from .base import Rewrite


@dataclass(frozen=True, slots=True)
class FoldLayerScale(Rewrite):
    """Fold each layer scale into the last linear layer of its branch: diag(γ) (W x + b) = (γ W) x + γ b.

    A layer scale after a branch that does not end in a linear layer is kept.
    """

    def __call__(self, model: nn.Module) -> None:
        found = False
        for residual in [module for module in model.modules() if isinstance(module, Residual | ReducingResidual)]:
            ends = list(_last_linears(residual.branch))
            if isinstance(residual.scale, LayerScale) and ends:
                for linear in ends:
                    _multiply(linear, residual.scale.weight)
                residual.scale = nn.Identity()
                found = True
        if not found:
            raise VitrailError("this model has no layer scale that could be folded: leave fold_layer_scale out")


_Before = nn.Linear | nn.Conv2d | nn.Conv3d
"""Layers that can take up the batch norm behind them."""


@dataclass(frozen=True, slots=True)
class FoldBatchNorm(Rewrite):
    """Fold each batch norm into the linear layer or convolution before it, or the linear layer after it.

    The running statistics become part of the weights, as in evaluation mode. A batch norm that is separated from
    these by another layer, such as a max pool, is kept.
    """

    def __call__(self, model: nn.Module) -> None:
        found = False
        for holder in list(model.modules()):
            for (_, first), (name, second) in pairwise(list(_in_order(holder))):
                if isinstance(first, _Before) and _is_batch_norm(second):
                    _fold_behind(first, *_scale_and_shift(second))
                    setattr(holder, name, nn.Identity())
                    found = True
            for (name, first), (_, second) in pairwise(list(_in_order(holder))):
                if _is_batch_norm(first) and isinstance(second, nn.Linear):
                    _fold_in_front(second, *_scale_and_shift(first))
                    setattr(holder, name, nn.Identity())
                    found = True
        if not found:
            raise VitrailError("this model has no batch norm that could be folded: leave fold_batch_norm out")


def _last_linears(branch: nn.Module) -> Iterator[nn.Linear]:
    """The linear layers whose sum is a branch's output; none for branches of an unknown kind."""
    if isinstance(branch, nn.Linear):
        yield branch
    elif isinstance(branch, MLP | ConvMLP | SwiGLU):
        yield from _last_linears(branch.contract)
    elif isinstance(branch, MultiHeadAttention | CrossAttention):
        yield from _last_linears(branch.project)
    elif isinstance(branch, ClassAttention | PrefixQueries):
        yield from _last_linears(branch.attention)
    elif isinstance(branch, LinearOfMean):
        yield from _last_linears(branch.layer)
    elif isinstance(branch, PrefixOnly):
        yield from _last_linears(branch.branch)
    elif isinstance(branch, nn.Sequential) and len(branch):
        yield from _last_linears(branch[-1])
    elif isinstance(branch, Sum):
        ends = [list(_last_linears(part)) for part in branch.branches]
        yield from (linear for part in ends for linear in part if all(ends))


def _in_order(holder: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Children of a module in the order of their calls, for modules that call each child on the output of the last.

    An activation that a torchvision block calls in between follows a batch norm, and never precedes one.
    """
    if isinstance(holder, nn.Sequential | LinearNorm):
        yield from holder.named_children()
    elif isinstance(holder, ConvLinear):
        yield from (("conv", holder.conv), ("norm", holder.norm))
    elif _is_of_torchvision(holder, "BasicBlock", "Bottleneck"):
        yield from ((name, layer) for name, layer in holder.named_children() if name not in ("relu", "downsample"))


def _is_batch_norm(module: nn.Module) -> bool:
    batch_norm = isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)
    return batch_norm or _is_of_torchvision(module, "FrozenBatchNorm2d")


def _is_of_torchvision(module: nn.Module, *names: str) -> bool:
    """Whether a module's class is one of torchvision's, which takes a second to import."""
    kind = type(module)
    return kind.__module__.startswith("torchvision.") and kind.__name__ in names


def _scale_and_shift(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Scale and shift of a batch norm in evaluation mode, (C,) each."""
    values = {**dict(norm.named_parameters()), **dict(norm.named_buffers())}
    mean, variance = values["running_mean"], values["running_var"]
    weight, bias = values.get("weight", torch.ones_like(mean)), values.get("bias", torch.zeros_like(mean))
    eps: float = vars(norm)["eps"]
    scale = weight / (variance + eps).sqrt()
    return scale, bias - mean * scale


def _multiply(layer: _Before, scale: Tensor) -> None:
    """Change a layer in place so that it returns scale · layer(x)."""
    with torch.no_grad():
        shape = (-1, *[1] * (layer.weight.ndim - 1))
        layer.weight = nn.Parameter(layer.weight * scale.view(shape))
        if layer.bias is not None:
            layer.bias = nn.Parameter(layer.bias * scale)


def _fold_behind(layer: _Before, scale: Tensor, shift: Tensor) -> None:
    """Change a layer in place so that it returns scale · layer(x) + shift."""
    _multiply(layer, scale)
    with torch.no_grad():
        layer.bias = nn.Parameter(shift.clone() if layer.bias is None else layer.bias + shift)


def _fold_in_front(layer: nn.Linear, scale: Tensor, shift: Tensor) -> None:
    """Change a layer in place so that it returns layer(scale · x + shift)."""
    with torch.no_grad():
        moved = layer.weight @ shift
        layer.bias = nn.Parameter(moved if layer.bias is None else layer.bias + moved)
        layer.weight = nn.Parameter(layer.weight * scale)
