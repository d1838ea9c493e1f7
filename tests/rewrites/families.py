"""Small models whose every number is drawn, and comparison of a rewritten model with the original."""

from typing import Any

import torch
from torch import Tensor, nn

from tests.models.test_families import build, inputs, numbers
from vitrail.nn import BaseVisionModel, SequentialModel


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
    """Output and embedding of a model; of most also those of one pass for both."""
    found = numbers(model(*pixels))
    if len(pixels) == 1 and isinstance(model, SequentialModel):
        whole = model.forward_all(*pixels)
        return [*found, *numbers(whole.logits), whole.embedding]
    return [*found, model.embed_images(pixels[0])]


def assert_same(wanted: list[Tensor], found: list[Tensor]) -> None:
    """Results are equal to 1e-10, relative to the largest number of each."""
    for each, mine in zip(wanted, found, strict=True):
        assert mine.shape == each.shape
        scale = each.abs().max().clamp(min=1e-30)
        torch.testing.assert_close(mine / scale, each / scale, rtol=0, atol=1e-10)
