"""Forward and backward passes of attribution: what they ask of a model, and that they leave no trace in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...errors import VitrailError
from ...nn import Tokens, VisionModel

Classes = Int[Tensor, " B"]
Map = Float[Tensor, "B rows columns"]


@contextmanager
def settled(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, and no gradient for its parameters: behind the block all is as it was.

    A graph that leads to no parameters keeps less, as the inputs of linear layers are not needed then.
    """
    modules = list(model.modules())
    training = [module for module in modules if module.training]
    learning = [one for module in modules for one in module.parameters(recurse=False) if one.requires_grad]
    for module in training:
        module.training = False
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for module in training:
            module.training = True
        for parameter in learning:
            parameter.requires_grad_(True)


@contextmanager
def with_graph() -> Iterator[None]:
    """Gradients are recorded, whatever the caller has switched off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def traced(pixels: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """The same pixels as the start of a graph, so that a model of frozen parameters makes one, too."""
    return pixels.detach().clone().requires_grad_()


def encoded(model: VisionModel, pixels: Float[Tensor, "B C H W"]) -> Tokens:
    """What the head reads of a batch of pictures.

    Raises:
        VitrailError: it is not one grid of patches.
    """
    tokens: Any = model.forward_features(pixels)
    if not isinstance(tokens, Tokens) or tokens.lengths or len(tokens.grid) != 2:
        raise VitrailError(
            "the head of this model does not read one grid of patches a picture: maps can be made for classifiers of"
            " pictures; `observe_attention`, `observe_features` and `capture` look into any model"
        )
    return tokens


def class_scores(model: VisionModel, tokens: Tokens, classes: Classes) -> Float[Tensor, " B"]:
    """The logit of each picture's class.

    Raises:
        VitrailError: the head gives no logits (B, num_classes), or not so many.
    """
    return scores_of(model.head(tokens), classes)


def scores_of(logits: Any, classes: Classes) -> Float[Tensor, " B"]:
    """The logit of each picture's class, with the errors of `class_scores`."""
    logits = _checked(logits)
    if len(classes) != len(logits):
        raise VitrailError(f"{len(classes)} classes for {len(logits)} pictures: give one class a picture")
    if classes.numel() and not 0 <= int(classes.min()) <= int(classes.max()) < logits.shape[1]:
        raise VitrailError(f"class {int(classes.max())} is not there: the model has {logits.shape[1]}, from 0")
    return logits.gather(1, classes.to(logits.device).unsqueeze(1)).squeeze(1)


def predicted(model: nn.Module, pixels: Float[Tensor, "B C H W"]) -> Classes:
    """The class with the largest logit, for each picture."""
    with torch.no_grad():
        return _checked(model(pixels)).argmax(dim=1)


def pixel_gradient(model: VisionModel, pixels: Float[Tensor, "B C H W"], classes: Classes) -> Float[Tensor, "B C H W"]:
    """∂(logit of the class)/∂pixels, each picture's own."""
    with with_graph():
        pixels = traced(pixels)
        score = scores_of(model(pixels), classes).sum()
        return torch.autograd.grad(score, pixels)[0]


def _checked(logits: Any) -> Float[Tensor, "B K"]:
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise VitrailError("the model gives no logits (B, num_classes): attribution needs a number a class to explain")
    return logits


def patch_map(row: Float[Tensor, "B N"], tokens: Tokens) -> Map:
    """A number for each token as a map over the patches."""
    rows, columns = tokens.grid
    return row[:, -rows * columns :].unflatten(1, (rows, columns))


def sum_to_cells(values: Float[Tensor, "B H W"], grid: tuple[int, ...]) -> Map:
    """A number for each pixel, summed over the cells of a grid; every pixel belongs to one."""
    for axis, cells in zip((1, 2), grid, strict=True):
        owner = cell_of(values.shape[axis], cells, values.device)
        shape = list(values.shape)
        shape[axis] = cells
        values = values.new_zeros(shape).index_add(axis, owner, values)
    return values


def cell_of(length: int, cells: int, device: torch.device) -> Int[Tensor, " length"]:
    """Which of so many cells each pixel of a side lies in: equal parts, as far as they are whole."""
    return torch.arange(length, device=device) * cells // length
