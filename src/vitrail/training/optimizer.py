"""Parameter groups and optimisers."""

from fnmatch import fnmatch
from statistics import median_low
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from ..errors import VitrailError
from ..nn import PatchDropout, Stage
from ..nn.matrices import hidden_matrices, scale_free_matrices, weight_matrices
from ..objectives.objective import Objective
from ..rewrites.lora import lora_parameters
from .lamb import Lamb
from .muon import Muon, orthogonalize_flops
from .recipe import Recipe, chosen

_FILTER_LR, _FILTER_MOMENTUM = 6.0, 0.6
"""Factor of Muon's learning rate, and its momentum, for filters whose scale has no effect: those of the network that
they come from are 0.12 at a batch of 500, and 0.6."""


def freeze(model: nn.Module, patterns: tuple[str, ...]) -> None:
    """Freeze the parameters whose names match shell patterns.

    Raises:
        VitrailError: a pattern matches nothing, or nothing is left to train.
    """
    names = [name for name, _ in model.named_parameters()]
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in names):
            raise VitrailError(f"freeze pattern {pattern!r} matches no parameter: they are named like {names[0]}")
    for name, param in model.named_parameters():
        if any(fnmatch(name, pattern) for pattern in patterns):
            param.requires_grad_(False)
    if not any(param.requires_grad for param in model.parameters()):
        raise VitrailError(f"freeze {', '.join(patterns)} leaves no parameter to train: do not freeze the head")


def freeze_for_lora(model: nn.Module) -> None:
    """Freeze all parameters of a model but its low-rank updates and its head."""
    kept = lora_parameters(model)
    for name, param in model.named_parameters():
        if param not in kept and not name.startswith("head."):
            param.requires_grad_(False)


def train_mode(model: nn.Module) -> None:
    """Set training mode, except for modules whose parameters are all frozen, which stay in evaluation mode.

    Patch dropout is active behind a frozen embedding too: it is a part of the training, not of the embedding.
    """
    model.train()
    for module in model.modules():
        params = list(module.parameters())
        if params and not any(param.requires_grad for param in params):
            module.eval()
    for module in model.modules():
        if isinstance(module, PatchDropout):
            module.train()


def make_optimizers(objective: Objective, recipe: Recipe) -> list[Optimizer]:
    """AdamW or LAMB for all parameters, or Muon for the matrices of the encoder and the stem, and AdamW for the rest.

    Parameters of the objective that are not the model's (a projection, a temperature) have the head's learning rate.
    Each group keeps its peak learning rate as `peak_lr`.
    """
    lr = chosen(recipe.lr) * chosen(recipe.batch_size) * recipe.accumulate / recipe.lr_batch
    matrices = hidden_matrices(objective.model) if recipe.optimizer == "muon" else set()
    multiplying = {name.removeprefix("model.") for name in weight_matrices(objective)}
    numbers = layer_numbers(objective.model)
    last = max(numbers.values(), default=0) + 1
    adamw: dict[tuple[float, bool], list[nn.Parameter]] = {}
    scale_free = scale_free_matrices(objective.model)
    muon: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for full_name, param in objective.named_parameters():
        if not param.requires_grad:
            continue
        name = full_name.removeprefix("model.")
        of_model = full_name.startswith("model.")
        number = layer_of(name, numbers) if of_model else last
        of_head = not of_model or name.startswith("head.")
        scale = recipe.layer_decay ** (last - number) * (recipe.head_lr if of_head else 1.0)
        if name in matrices:
            muon.setdefault((scale, name in scale_free), []).append(param)
        else:
            adamw.setdefault((scale, name in multiplying), []).append(param)
    optimizers: list[Optimizer] = []
    if adamw:
        groups: list[dict[str, Any]] = [
            {"params": params, "peak_lr": lr * scale, "weight_decay": recipe.weight_decay if decays else 0.0}
            for (scale, decays), params in adamw.items()
        ]
        if recipe.optimizer == "lamb":
            optimizers.append(Lamb(groups, lr=lr, betas=recipe.betas))
        else:
            optimizers.append(torch.optim.AdamW(groups, lr=lr, betas=recipe.betas, fused=True))
    if muon:
        muon_lr = chosen(recipe.muon_lr)
        groups = [
            {"params": params, "peak_lr": muon_lr * scale * (_FILTER_LR if free else 1.0), "scale_free": free}
            | ({"momentum": _FILTER_MOMENTUM} if free else {})
            for (scale, free), params in muon.items()
        ]
        optimizers.append(Muon(groups, lr=muon_lr, weight_decay=recipe.weight_decay))
    return optimizers


def muon_flops(model: nn.Module) -> int:
    """Floating-point operations of a step of Muon without the model's own; the model may be on the meta device."""
    return sum(orthogonalize_flops(*shape) for shape in _hidden_shapes(model))


def typical_width(model: nn.Module) -> int:
    """Median over the hidden matrices of the smaller side, the D of most ViTs; the model may be on the meta device."""
    return median_low([min(shape) for shape in _hidden_shapes(model)] or [1])


def _hidden_shapes(model: nn.Module) -> list[tuple[int, int]]:
    matrices = hidden_matrices(model)
    return [(param.shape[0], param[0].numel()) for name, param in model.named_parameters() if name in matrices]


def set_lr(optimizers: list[Optimizer], factor: float) -> None:
    """Set the learning rate of every group to `factor` times its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor


def layer_numbers(model: nn.Module) -> dict[str, int]:
    """Block name -> number, from 1, through all stages; a stage's reduction has the number of its first block."""
    numbers: dict[str, int] = {}
    blocks: list[str] = []

    def walk(name: str, holder: Any) -> None:
        for index, block in enumerate(holder.blocks):
            place = f"{name}.blocks.{index}"
            if isinstance(block, Stage):
                numbers[f"{place}.reduce"] = len(blocks) + 1
                walk(place, block)
            else:
                blocks.append(place)
            numbers[place] = len(blocks)

    encoder = getattr(model, "encoder", None)
    if hasattr(encoder, "blocks"):
        walk("encoder", encoder)
    return numbers


def layer_of(name: str, numbers: dict[str, int]) -> int:
    """Layer number of a parameter: 0 in the embedding, its block's number in a block, the largest + 1 after them."""
    if name.startswith("embed."):
        return 0
    while "." in name:
        name = name.rpartition(".")[0]
        if name in numbers:
            return numbers[name]
    return max(numbers.values(), default=0) + 1
