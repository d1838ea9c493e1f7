"""Copies of models that share their tensors."""

import copy
from collections import OrderedDict
from typing import TypeVar

import torch
from torch import Tensor, nn

ModelT = TypeVar("ModelT", bound=nn.Module)


def shared_copy(model: ModelT) -> ModelT:
    """A copy of a model with modules of its own and the same parameters and buffers, without hooks."""
    return _copy(model, {id(tensor): tensor for tensor in _tensors(model)})


def meta_copy(model: ModelT) -> ModelT:
    """A copy of a model on the meta device, without weights or hooks."""

    def empty(tensor: Tensor) -> Tensor:
        moved = torch.empty_like(tensor, device="meta")
        return nn.Parameter(moved, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else moved

    return _copy(model, {id(tensor): empty(tensor) for tensor in _tensors(model)})


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


def _copy(model: ModelT, tensors: dict[int, Tensor]) -> ModelT:
    # deepcopy takes an object from its memo if it is there. Hooks are not copied: they belong to the model given, and
    # what they refer to would be copied with them.
    memo: dict[int, object] = dict(tensors)
    for module in model.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks):
            memo[id(hooks)] = OrderedDict()
        memo[id(module._backward_pre_hooks)] = OrderedDict()
    return copy.deepcopy(model, memo)
