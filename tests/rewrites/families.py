"""Small models whose every number is drawn, and comparison of a rewritten model with the original."""

from typing import Any

import torch
from torch import Tensor, nn

import vitrail
from tests.models.test_families import build, inputs, numbers
from vitrail.nn import BaseVisionModel


def randomised(name: str, **overrides: Any) -> BaseVisionModel:
    """A small model in float64 whose every number is drawn, statistics of batch norms included."""
    model = build(name, **overrides).double().eval()
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            tensor.normal_(std=0.3)
            if "var" in key or (key.endswith("weight") and tensor.ndim == 1):
                tensor.abs_().add_(0.5)
    return model


def given(model: BaseVisionModel) -> list[Tensor]:
    return [tensor.double() if tensor.is_floating_point() else tensor for tensor in inputs(model)]


@torch.no_grad()
def results(model: nn.Module, pixels: list[Tensor]) -> list[Tensor]:
    """Output, embedding, and output and embedding in one pass."""
    found = [*numbers(model(*pixels)), model.embed_images(pixels[0])]
    if len(pixels) == 1 and hasattr(model, "forward_all"):
        whole = model.forward_all(*pixels)
        found += [*numbers(whole.logits), whole.embedding]
    return found


def assert_same(model: BaseVisionModel, changed: nn.Module, pixels: list[Tensor], *, tolerance: float = 1e-10) -> None:
    """Outputs and embeddings are equal, relative to the largest number of each."""
    for wanted, mine in zip(results(model, pixels), results(changed, pixels), strict=True):
        assert mine.shape == wanted.shape
        scale = wanted.abs().max().clamp(min=1e-30)
        torch.testing.assert_close(mine / scale, wanted / scale, rtol=0, atol=tolerance)


def rewritten(model: BaseVisionModel, *changes: Any) -> BaseVisionModel:
    for change in changes:
        model = vitrail.rewrite(model, change)
    return model
