"""Forward and backward passes of attribution: scores of targets, gradients, and maps over the patches."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...errors import VitrailError
from ...nn import Tokens, VisionModel, joined
from ..compiled import uncompiled
from ..outputs import gives_classes

Targets = Int[Tensor, " B"] | Float[Tensor, "B K"]
"""For each image a class, whose logit is attributed, or a vector, whose dot product with the output is attributed."""

Pixels = Float[Tensor, "B C *size"]
"""Images (B, C, H, W), or clips (B, C, T, H, W)."""

Map = Float[Tensor, "B *grid"]
"""Maps over the patches of images, (B, rows, columns), or of clips, (B, T, rows, columns)."""


@contextmanager
def settled(model: nn.Module) -> Iterator[None]:
    """Context manager: the model is in evaluation mode, its parameters are frozen, and it runs without compilation.

    A graph without parameters keeps less memory: the inputs of linear layers are not needed.
    """
    modules = list(model.modules())
    training = [module for module in modules if module.training]
    learning = [one for module in modules for one in module.parameters(recurse=False) if one.requires_grad]
    for module in training:
        module.training = False
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        with uncompiled():
            yield
    finally:
        for module in training:
            module.training = True
        for parameter in learning:
            parameter.requires_grad_(True)


@contextmanager
def with_graph() -> Iterator[None]:
    """Context manager that enables gradients, even if the caller has disabled them."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def traced(pixels: Pixels) -> Pixels:
    """Copy of the pixels that requires gradients, so that a model with frozen parameters builds a graph too."""
    return pixels.detach().clone().requires_grad_()


def encoded(model: VisionModel, pixels: Pixels) -> Tokens:
    """Tokens that the head reads, for a batch of images or clips.

    Raises:
        VitrailError: they are not one grid of patches.
    """
    tokens: Any = model.forward_features(pixels)
    if not isinstance(tokens, Tokens) or tokens.lengths or len(tokens.grid) not in (2, 3):
        raise VitrailError(
            "the head of this model does not read one grid of patches for each image or clip, so there is no map:"
            " `observe_attention`, `observe_features` and `capture` work on any model"
        )
    return tokens


def grid_of(tokens: Tokens, pixels: Pixels) -> tuple[int, ...]:
    """Grid of the maps: that of the tokens; if these are the mean over the frames of a clip, with a row of frames."""
    return tokens.grid if len(tokens.grid) == pixels.ndim - 2 else (pixels.shape[2], *tokens.grid)


def target_scores(model: VisionModel, tokens: Tokens, targets: Targets) -> Float[Tensor, " B"]:
    """Score of each image's target: the logit of its class, or the dot product of the output with its vector.

    Raises:
        VitrailError: the head's output is not (B, K), or the targets do not fit it.
    """
    return scores_of(model.head(tokens), targets)


def scores_of(output: Any, targets: Targets) -> Float[Tensor, " B"]:
    """As `target_scores`, from the model's output."""
    output = _checked(output)
    if len(targets) != len(output):
        raise VitrailError(f"{len(targets)} targets for {len(output)} images: give one target an image")
    targets = targets.to(output.device)
    if targets.is_floating_point():
        if targets.shape != output.shape:
            raise VitrailError(
                f"target vectors of shape {tuple(targets.shape)} do not fit an output of {tuple(output.shape)}: give"
                " one vector an image, as long as the model's output"
            )
        return (output * targets.to(output.dtype)).sum(dim=1)
    if targets.numel() and not 0 <= int(targets.min()) <= int(targets.max()) < output.shape[1]:
        raise VitrailError(f"class {int(targets.max())} is not there: the model has {output.shape[1]}, from 0")
    return output.gather(1, targets.unsqueeze(1)).squeeze(1)


def default_targets(model: nn.Module, pixels: Pixels) -> Targets:
    """Class with the largest logit, (B,); for a model without classes its normalised embedding, (B, D)."""
    with torch.no_grad():
        output = _checked(model(pixels))
        if gives_classes(model):
            return output.argmax(dim=1)
        return nn.functional.normalize(output, dim=1)


def pixel_gradient(model: VisionModel, pixels: Pixels, targets: Targets) -> Pixels:
    """∂score/∂pixels for each image."""
    with with_graph():
        pixels = traced(pixels)
        score = scores_of(model(pixels), targets).sum()
        return torch.autograd.grad(score, pixels)[0]


def _checked(output: Any) -> Float[Tensor, "B K"]:
    output = joined(output)
    if not isinstance(output, Tensor) or output.ndim != 2:
        raise VitrailError(
            "the output of this model is not one row of logits or one embedding an image, (B, K): attribution explains"
            " a class or an embedding"
        )
    return output


def patch_map(row: Float[Tensor, "B N"], tokens: Tokens) -> Map:
    """Convert one number for each token to a map over the patches."""
    return row[:, -torch.Size(tokens.grid).numel() :].unflatten(1, tokens.grid)


def for_each(values: Float[Tensor, " n"], like: Tensor) -> Tensor:
    """Give one number for each image the axes of `like`, (n, 1, 1, …), to multiply it with."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def sum_to_cells(values: Float[Tensor, "B *size"], grid: tuple[int, ...]) -> Map:
    """Sum one number for each pixel over the cells of a grid."""
    for axis, cells in enumerate(grid, start=1):
        owner = cell_of(values.shape[axis], cells, values.device)
        shape = list(values.shape)
        shape[axis] = cells
        values = values.new_zeros(shape).index_add(axis, owner, values)
    return values


def cell_of(length: int, cells: int, device: torch.device) -> Int[Tensor, " length"]:
    """Index of the cell of each pixel along a side that is divided into cells of equal size, up to rounding."""
    return torch.arange(length, device=device) * cells // length
