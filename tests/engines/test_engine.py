"""Engines: PyTorch's precision and layout, and those of other packages."""

import sys

import pytest
import torch
from torch import nn

from tests.evaluation.small_checkpoint import tiny_checkpoint
from tests.plugin_package import install
from vitrail.engines.engine import engine_names, make_engine
from vitrail.engines.precision import on_device, place_model, reduced_precision
from vitrail.engines.predictor import make_predictor
from vitrail.engines.torch_engine import TorchEngine
from vitrail.errors import VitrailError

CPU = torch.device("cpu")

PACKAGE = """
import torch

class Constant:
    device, precision = torch.device("cpu"), torch.float32

    def __init__(self, model, device, precision):
        self.words = device, precision

    def __call__(self, pixels):
        return torch.tensor([0.0, 2.0, 1.0]).expand(len(pixels), 3)
"""
ENTRIES = "[vitrail.engines]\nconstant = my_engine:Constant\nbroken = my_engine_that_is_not_there:Engine\n"


def test_an_engine_of_another_package_runs_a_checkpoint(tmp_path, monkeypatch):
    install(monkeypatch, tmp_path, "my_engine", PACKAGE, ENTRIES)
    assert engine_names() == ["torch", "compiled", "openvino", "onnxruntime", "broken", "constant"]
    assert "my_engine" not in sys.modules  # a list imports nothing
    predictor = make_predictor(tiny_checkpoint(), engine="constant", precision="float16")
    assert predictor.engine.words == ("auto", "float16")
    (prediction,) = predictor([torch.zeros(3, 8, 8, dtype=torch.uint8)])
    assert [name for name, _ in prediction.classes] == ["dog", "fox", "cat"]
    with pytest.raises(VitrailError, match=r"engine 'broken' of my_engine .*cannot be imported"):
        make_predictor(tiny_checkpoint(), engine="broken")
    with pytest.raises(VitrailError, match="there is no engine 'constnat': did you mean constant"):
        make_predictor(tiny_checkpoint(), engine="constnat")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"engine": "toch"}, "there is no engine 'toch': did you mean torch"),
        ({"precision": "bf16"}, "there is no precision 'bf16'"),
        ({"device": "gpu"}, "there is no device 'gpu'"),
        ({"batch_size": 0}, "batch size 0"),
    ],
)
def test_unknown_words_are_sentences(words, message):
    with pytest.raises(VitrailError, match=message):
        make_predictor(tiny_checkpoint(), **words)


def test_float32_is_the_model_itself_and_bfloat16_rounds_its_products():
    model = nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4))
    with torch.no_grad():
        model[0].weight.normal_()
    pixels = torch.randn(3, 5)
    expected = model(pixels).detach()
    assert torch.equal(make_engine(model, device="cpu", precision="float32")(pixels), expected)
    rounded = make_engine(model, device="cpu", precision="bfloat16")(pixels)
    # The products from bfloat16 inputs, accumulated exactly and rounded once; the norm stays in float32.
    weight, bias = (tensor.detach().bfloat16().double() for tensor in (model[0].weight, model[0].bias))
    products = (pixels.bfloat16().double() @ weight.t() + bias).bfloat16().float()
    torch.testing.assert_close(rounded, model[1](products).detach(), rtol=2e-2, atol=2e-2)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, expected)


def test_float32_stays_so_inside_another_autocast():
    layer = nn.Linear(4, 4)
    with torch.autocast("cpu", torch.bfloat16), reduced_precision(CPU, torch.float32):
        assert layer(torch.randn(2, 4)).dtype == torch.float32
    with reduced_precision(CPU, torch.bfloat16):
        assert layer(torch.randn(2, 4)).dtype == torch.bfloat16


def test_images_and_their_weights_are_channels_last_and_values_stay():
    layer = nn.Conv2d(3, 4, 3)
    weight = layer.weight.detach().clone()
    place_model(layer, CPU)
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(layer.weight, weight)
    pixels, video = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 4, 8, 8)
    assert on_device(pixels, CPU).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(on_device(pixels, CPU), pixels)
    assert torch.equal(on_device(video, CPU), video)


def test_outputs_of_many_tensors_come_back_as_float32():
    class Two(nn.Module):
        def forward(self, pixels):
            return {"half": pixels.mean((1, 2, 3)).half(), "count": torch.full((len(pixels),), 7)}

    output = TorchEngine(Two(), "cpu", "float32")(torch.ones(2, 3, 4, 4))
    assert (output["half"].dtype, output["count"].dtype) == (torch.float32, torch.int64)
    assert output["half"].tolist() == [1.0, 1.0]


def test_training_mode_ends_and_no_graph_is_kept():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2), nn.Dropout(0.5)).train()
    engine = TorchEngine(model, "cpu", "float32")
    pixels = torch.ones(1, 3, 2, 2)
    assert not model.training
    assert torch.equal(engine(pixels), engine(pixels))
    assert not engine(pixels).requires_grad
