"""Layer-wise relevance for transformers, as input × gradient under other rules of the backward pass.

AttnLRP (Achtibat et al., 2024, "AttnLRP: attention-aware layer-wise relevance propagation for transformers", section
3), in a form without explicit relevance at each layer: as every rule has the form relevance = value × modified
gradient, the chain rule propagates it. The rules are hooks; the model's outputs do not change.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...nn import ATTENDS, QuickGELU, SwiGLU, Tokens, VisionModel
from .method import Method
from .passes import Map, Pixels, Targets, encoded, grid_of, patch_map, sum_to_cells, target_scores, traced, with_graph

ACTIVATIONS = (nn.GELU, nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, QuickGELU)
"""Elementwise activations with f(0) = 0, so that f(x) / x is a factor."""


def relevance_map(model: VisionModel, pixels: Pixels, targets: Targets) -> Map:
    """Relevance of the patch tokens for the target's score by the rules of AttnLRP; signed.

    Prefix tokens and biases have relevance too, so the map does not sum to the logit. For a pyramid, the relevance of
    the first tokens is summed over the cells of the last grid. One forward and one backward pass.
    """
    with with_graph(), relevance_rules(model), _embedded(model) as seen:
        tokens = encoded(model, traced(pixels))
        score = target_scores(model, tokens, targets).sum()
        (embedded,) = seen
        gradient = torch.autograd.grad(score, embedded.x)[0]
    relevance = patch_map((embedded.x.detach() * gradient).sum(dim=2), embedded)
    return sum_to_cells(relevance, grid_of(tokens, pixels))


@contextmanager
def relevance_rules(model: nn.Module) -> Iterator[None]:
    """Context manager: inside it, value × gradient of any tensor of the model is its relevance.

    * layer norm: the standard deviation is treated as a constant (identity rule);
    * activations: f(x) = x · (f(x) / x), with the second factor treated as a constant (identity rule);
    * products of two values that both depend on the image, q kᵀ, A v and gates: half to each factor;
    * softmax, linear layers, convolutions and sums: the plain gradient (Taylor, ε-rule with ε = 0).
    """
    with ExitStack() as hooks:
        for module in model.modules():
            if isinstance(module, ATTENDS):
                hooks.callback(module.register_forward_pre_hook(_halve_products, with_kwargs=True).remove)
            for kind, hook in _RULES:
                if isinstance(module, kind):
                    hooks.callback(module.register_forward_hook(hook).remove)
        yield


def _layer_norm(norm: nn.LayerNorm, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    (x,) = args
    axes = tuple(range(-len(norm.normalized_shape), 0))
    mean = x.mean(dim=axes, keepdim=True)
    deviation = ((x - mean).square().mean(dim=axes, keepdim=True) + norm.eps).sqrt().detach()
    normed = (x - mean) / deviation
    if norm.weight is not None:
        normed = normed * norm.weight
    return normed if norm.bias is None else normed + norm.bias


def _activation(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    (x,) = args
    factor = torch.where(x == 0, torch.zeros_like(x), output / torch.where(x == 0, torch.ones_like(x), x))
    return x * factor.detach()


def _gated(mlp: SwiGLU, args: tuple[Tokens, ...], output: Tokens) -> Tokens:
    # The gate is no submodule: the computation of the MLP is repeated here, with the rules.
    (tokens,) = args
    gate, value = mlp.expand(tokens.x).chunk(2, dim=-1)
    product = gate * gate.sigmoid().detach() * value
    half = (product + product.detach()) / 2
    return tokens.with_x(mlp.dropout(mlp.contract(mlp.norm(mlp.dropout(half)))))


def _halve_products(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    # Half of the relevance goes through v; of the other half, which goes through the weights, q and k get a half each.
    given = dict(zip(("q", "k", "v"), args, strict=False)) | kwargs
    for name, share in (("q", 4), ("k", 4), ("v", 2)):
        if given[name].requires_grad:
            given[name].register_hook(lambda gradient, share=share: gradient / share)


_RULES: tuple[tuple[Any, Any], ...] = ((nn.LayerNorm, _layer_norm), (ACTIVATIONS, _activation), (SwiGLU, _gated))


@contextmanager
def _embedded(model: VisionModel) -> Iterator[list[Tokens]]:
    seen: list[Tokens] = []
    handle = model.embed.register_forward_hook(lambda module, given, output: seen.append(output))
    try:
        yield seen
    finally:
        handle.remove()


METHOD = Method("Relevance (AttnLRP)", relevance_map, quick=True)
