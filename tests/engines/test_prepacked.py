"""Linear layers with weights in oneDNN's layout give what PyTorch's give."""

from typing import Any

import pytest
import torch
from torch import nn

import vitrail
from tests.parity.references import randomise
from vitrail.engines.prepacked import PrepackedLinear, can_prepack, prepack_linears, prepacked_bytes
from vitrail.engines.torch_engine import TorchEngine
from vitrail.machine.devices import has_onednn_bfloat16
from vitrail.nn import EmbeddingModel, joined
from vitrail.rewrites.inference import for_inference

VIT: dict[str, Any] = {"embed_dim": 48, "depth": 2, "num_heads": 4, "num_classes": 5, "image_size": 32}
MODELS: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": VIT,
    "vit_small_patch14_reg4_dinov2": {**VIT, "image_size": 28},
    "deit_tiny_distilled_patch16_224": VIT,
    "beit_base_patch16_224": VIT,
    "swin_tiny_patch4_window7_224": {"embed_dim": 16, "depths": (1, 2), "num_heads": (2, 4), "image_size": 32},
    "convnext_tiny": {"depths": (1, 1, 1, 1), "image_size": 32},
    "compact_small_32": {},
}

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN")


def forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitrail.engines.torch_engine.can_prepack", lambda device, precision: True)


@pytest.mark.parametrize("name", MODELS)
def test_float32_is_equal_to_rounding(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = randomise(vitrail.create_model(name, **MODELS[name])).eval()
    forced(monkeypatch)
    for batch in (1, 3):
        pixels = torch.randn(batch, *model.config.pixels_shape)
        with torch.no_grad():
            expected = joined(model(pixels))
        torch.testing.assert_close(joined(TorchEngine(model, "cpu", "float32")(pixels)), expected, rtol=1e-4, atol=1e-5)
        embedded = EmbeddingModel(model)
        with torch.no_grad():
            expected = embedded(pixels)
        torch.testing.assert_close(TorchEngine(embedded, "cpu", "float32")(pixels), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not has_onednn_bfloat16(), reason="oneDNN has no bfloat16 on this CPU, emulated or not")
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_bfloat16_is_as_near_as_autocast(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = randomise(vitrail.create_model(name, **MODELS[name])).eval()
    pixels = torch.randn(4, *model.config.pixels_shape)
    with torch.no_grad():
        exact = joined(model(pixels))
    monkeypatch.setattr("vitrail.engines.torch_engine.can_prepack", lambda device, precision: False)
    autocast = (joined(TorchEngine(model, "cpu", "bfloat16")(pixels)) - exact).norm()
    forced(monkeypatch)
    assert (joined(TorchEngine(model, "cpu", "bfloat16")(pixels)) - exact).norm() < 1.5 * autocast


def test_changed_weights_are_followed_and_the_model_given_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    forced(monkeypatch)
    model = randomise(vitrail.create_model("vit_tiny_patch16_224", **VIT)).eval()
    engine, pixels = TorchEngine(model, "cpu", "float32"), torch.randn(2, 3, 32, 32)
    before = engine(pixels)
    with torch.no_grad():
        model.head.classify.weight.mul_(2)
        model.head.classify.bias.mul_(2)
    torch.testing.assert_close(engine(pixels), 2 * before)
    assert not any(isinstance(module, PrepackedLinear) for module in model.modules())


def test_every_linear_layer_of_a_vit_is_prepacked_with_its_gelu() -> None:
    model = for_inference(vitrail.create_model("vit_tiny_patch16_224", **VIT))
    plain = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    planned = prepacked_bytes(model, torch.float32)
    prepack_linears(model, torch.float32)
    packed = {name: module for name, module in model.named_modules() if isinstance(module, PrepackedLinear)}
    assert list(packed) == plain
    copies = [copy for module in packed.values() for copy in (module.prepacked, module.prepacked_bias)]
    assert planned == sum(4 * copy.numel() for copy in copies if copy is not None)
    assert not any(isinstance(module, nn.GELU) for module in model.modules())


def test_where_it_is_slower_it_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX2")
    assert not can_prepack(cpu, torch.float32)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX512")
    assert can_prepack(cpu, torch.float32)
    monkeypatch.setattr("vitrail.engines.prepacked._has_operations", lambda: False)
    assert not can_prepack(cpu, torch.float32)
    assert not can_prepack(torch.device("cuda"), torch.float32)
