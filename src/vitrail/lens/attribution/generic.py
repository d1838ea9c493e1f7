"""Gradient × attention, layer by layer: the generic rule of Chefer et al. (2021)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ...nn import VisionModel
from ..capture import weight_gradients
from .layers import looked_through, pulled_back, reading
from .method import Method
from .passes import Map, Pixels, Targets, patch_map, target_scores, traced, with_graph


def generic_map(model: VisionModel, pixels: Pixels, targets: Targets) -> Map:
    """Relevance of each patch for the target through all layers; never negative.

    R ← R + (mean over heads of max(0, ∇A ∘ A)) · R, from R = I (Chefer et al., 2021, "Generic attention-model
    explainability", equations 5 and 6); the map is the rows of R - I that the head reads: the class token's row, or the
    mean of the patches' rows. One forward and one backward pass.
    """
    with with_graph():
        looks, tokens = looked_through(model, traced(pixels))
        gradients = weight_gradients(target_scores(model, tokens, targets).sum(), looks)
    with torch.no_grad():
        start = reading(model, tokens)
        weights = [look.weights() for look in looks]
        return patch_map(generic_relevance(start.to(weights[0].dtype), weights, gradients), tokens)


def generic_relevance(
    start: Float[Tensor, "B N"],
    weights: Sequence[Float[Tensor, "B h R M"]],
    gradients: Sequence[Float[Tensor, "B h R M"]],
) -> Float[Tensor, "B M"]:
    """Weighted sum of the rows of R - I, by the rule of `generic_map`.

    The identity is subtracted because it adds nothing to the patches in the class token's row, and a dominant constant
    to the mean of the patches' rows.

    Args:
        start: weight of each of the last tokens.
        weights, gradients: attention weights of every layer, from first to last, and the gradients of the score with
            respect to them.
    """
    layers = [(a * g).clamp(min=0).mean(dim=1) for a, g in zip(weights, gradients, strict=True)]
    row = pulled_back(start, layers)
    return row - start[:, -row.shape[1] :]


METHOD = Method("Gradient × attention", generic_map, signed=False, quick=True)
