"""Weights that are converted once give the outputs of those that autocast converts in every call, bit for bit."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from tests.engines.test_float8 import emulated
from tests.models.test_families import OTHERS, SOME, build
from tests.parity.references import randomise
from vitrail.engines.cast_weights import cast_weights, casts_weights
from vitrail.engines.precision import FLOAT8, reduced_precision
from vitrail.engines.torch_engine import TorchEngine, inference_copy
from vitrail.nn import joined
from vitrail.rewrites.inference import for_inference

CPU, HALF = torch.device("cpu"), torch.bfloat16


@pytest.mark.parametrize("name", [*SOME, *(pytest.param(name, marks=pytest.mark.exhaustive) for name in OTHERS)])
def test_outputs_are_those_of_autocast(name: str) -> None:
    model = randomise(build(name)).eval()
    inputs = model.config.example_inputs(2)
    copy = for_inference(model)
    cast_weights(copy, HALF)
    with torch.inference_mode(), reduced_precision(CPU, HALF):
        for found, expected in zip(tree_leaves(copy(*inputs)), tree_leaves(for_inference(model)(*inputs)), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


@pytest.mark.parametrize("precision", [HALF, FLOAT8])
def test_an_engine_follows_changed_weights(precision: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("vitrail.engines.torch_engine.casts_weights", lambda *given: not asked.append(given))
    monkeypatch.setattr("vitrail.engines.torch_engine.can_prepack", lambda *given: False)
    monkeypatch.setattr("vitrail.engines.torch_engine.pick_engine_precision", lambda name, device: precision)
    monkeypatch.setattr("vitrail.engines.float8.product", emulated)
    model, pixels = randomise(build("vit_tiny_patch32_224")).eval(), torch.randn(2, 3, 64, 64)
    engine = TorchEngine(model, "cpu", "auto")
    first = joined(engine(pixels))
    assert asked == [(CPU, HALF)]
    with torch.no_grad():
        model.head.classify.weight.mul_(2)
        model.head.classify.bias.mul_(2)
    torch.testing.assert_close(joined(engine(pixels)), 2 * first)
    halves = [layer for layer in inference_copy(model, CPU, precision).modules() if type(layer) is nn.Linear]
    assert halves
    assert all(layer.weight.dtype == HALF for layer in halves)


def test_it_is_done_on_gpus() -> None:
    cuda = torch.device("cuda")
    assert casts_weights(cuda, HALF)
    assert casts_weights(cuda, torch.float16)
    assert not casts_weights(cuda, torch.float32)
    assert not casts_weights(CPU, HALF)
