"""Grad-CAM on the feature map of any block: for ViTs, pyramids and CNNs."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...errors import VitrailError
from ...nn import HOLDERS, Tokens, VisionModel
from ..naming import find_module
from .method import Method
from .passes import Map, Pixels, Targets, encoded, target_scores, traced, with_graph


def grad_cam(model: VisionModel, pixels: Pixels, targets: Targets, *, layer: str | None = None) -> Map:
    """Sum of the channels of a feature map, weighted by their mean gradient; never negative.

    max(0, Σ_d α_d x_d), α_d the mean over the patches of ∂y/∂x_d (Selvaraju et al., 2017, equations 1 and 2).

    Args:
        layer: name of the module whose output is used: Tokens, (B, N, D) or (B, D, *grid). By default the last block
            whose patches the target depends on: with a class token it is the one before the last, as the head does not
            read the patches of the last.
    """
    names = [find_module(model, layer)] if layer else blocks_of(model)
    with with_graph():
        with _outputs(model, names) as seen:
            tokens = encoded(model, traced(pixels))
        if not seen:
            raise VitrailError(f"{layer} has no map for Grad-CAM: name a module of the encoder, such as a block")
        score = target_scores(model, tokens, targets).sum()
        streams = [output.x if isinstance(output, Tokens) else output for output in seen]
        gradients = torch.autograd.grad(score, streams, allow_unused=True, materialize_grads=True)
    with torch.no_grad():
        for output, gradient in zip(reversed(seen), reversed(gradients), strict=True):
            image, slope = _folded(output, output, tokens), _folded(output, gradient, tokens)
            if slope.any():
                break
        return weighted_channels(image, slope)


def weighted_channels(image: Float[Tensor, "B D *grid"], gradient: Float[Tensor, "B D *grid"]) -> Map:
    """max(0, Σ_d mean(gradient_d) image_d)."""
    return torch.einsum("bd,bd...->b...", gradient.flatten(2).mean(dim=2), image).clamp(min=0)


def blocks_of(model: VisionModel) -> list[str]:
    """The names of the encoder's blocks, stages and the encoder itself, in the order of the computation."""
    names = [name for name, module in model.named_modules() if _is_block(model, name)]
    return [*names, "encoder"]


def _is_block(model: VisionModel, name: str) -> bool:
    holder, _, place = name.rpartition(".")
    parent, _, last = holder.rpartition(".")
    return place.isdigit() and last == "blocks" and isinstance(model.get_submodule(parent), HOLDERS)


@contextmanager
def _outputs(model: nn.Module, names: list[str]) -> Iterator[list[Any]]:
    """Outputs of modules, in the order of the computation."""
    seen: list[Any] = []
    with ExitStack() as hooks:
        for name in names:
            module = model.get_submodule(name)
            hooks.callback(module.register_forward_hook(lambda module, given, output: seen.append(output)).remove)
        yield seen


def _folded(output: Any, values: Any, last: Tokens) -> Float[Tensor, "B D *grid"]:
    """The patches of a module's output, or of its gradient, as a map."""
    if isinstance(output, Tokens):
        return (values if isinstance(values, Tokens) else output.with_x(values)).map
    if output.ndim in (4, 5):
        return values
    # A norm returns a tensor: it is folded like the last tokens, if it has as many patches.
    count = last.patches.shape[1]
    if output.ndim != 3 or not count <= output.shape[1] <= last.x.shape[1]:
        raise VitrailError(
            f"a module that gives {tuple(output.shape)} has no map for Grad-CAM: name one that gives Tokens,"
            " such as a block"
        )
    return values[:, -count:].transpose(1, 2).unflatten(2, last.grid)


METHOD = Method("Grad-CAM", grad_cam, signed=False, quick=True)
