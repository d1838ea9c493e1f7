"""Linear layers with 8-bit floating point operands, on the CPU, beside float64 arithmetic that rounds by hand."""

import copy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import vitrail
from tests.parity.references import randomise
from vitrail.compress import candidates
from vitrail.engines import agreement, float8
from vitrail.engines.agreement import TOLERANCES, difference
from vitrail.engines.choice import Setting
from vitrail.engines.compiled_engine import CompiledEngine
from vitrail.engines.engine import make_engine
from vitrail.engines.float8 import Float8JointProjection, Float8Linear, float8_linears, to_float8
from vitrail.engines.precision import reduced_precision
from vitrail.engines.torch_engine import TorchEngine, inference_copy
from vitrail.errors import VitrailError
from vitrail.machine import devices
from vitrail.machine.devices import FLOAT8, pick_precision
from vitrail.nn import EmbeddingModel, Head, JointProjection, joined

CPU = torch.device("cpu")
VIT: dict[str, Any] = {"embed_dim": 64, "depth": 3, "num_heads": 4, "num_classes": 5, "image_size": 32}
MODELS: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": VIT,
    "vit_small_patch14_reg4_dinov2": {**VIT, "image_size": 28},
    "beit_base_patch16_224": VIT,
    "swin_tiny_patch4_window7_224": {"embed_dim": 16, "depths": (1, 2), "num_heads": (2, 4), "image_size": 32},
}


def emulated(rows: Tensor, row_scale: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None) -> Tensor:
    """What `float8.product` computes, from numbers that are multiplied out."""
    wide = None if bias is None else bias.float()
    return F.linear(rows.float() * row_scale, weight.float() * weight_scale, wide).bfloat16()


def force(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU counts as a device with 8-bit products, which not every PyTorch has on it: they are emulated."""
    monkeypatch.setattr("vitrail.engines.precision.has_float8", lambda device: True)
    monkeypatch.setattr(float8, "product", emulated)


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> None:
    force(monkeypatch)


def rounded(x: Tensor) -> Tensor:
    """Rows of float64 rounded by hand to E4M3 with the largest at 448: 4 bits, exponents from -6 to 8."""
    scale = x.abs().amax(-1, keepdim=True) / 448
    units = torch.where(scale > 0, x / scale, 0.0)
    step = 2.0 ** (torch.frexp(units.abs())[1] - 1).clamp(-6, 8).double().sub(3)
    return (units / step).round() * step * scale  # half to even, as the conversion


class Rounded(nn.Linear):
    """A layer in float64 whose operands are rounded by hand."""

    def forward(self, x: Tensor) -> Any:
        return F.linear(rounded(x), rounded(self.weight), self.bias)


class RoundedJoint(JointProjection, Rounded):  # type: ignore[misc]
    """`JointProjection` of that kind."""


def model_of(name: str) -> Any:
    return randomise(vitrail.create_model(name, **MODELS[name])).eval()


def float32_of(model: nn.Module, pixels: Tensor) -> Tensor:
    with torch.no_grad():
        return joined(model(pixels))


def test_numbers_are_those_of_the_format() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 128, generator=generator) * 10 ** torch.linspace(-30, 30, 64)[:, None]
    found, scale = to_float8(x)
    assert (found.dtype, scale.dtype, scale.shape) == (FLOAT8, torch.float32, (64, 1))
    assert (found.float().abs().amax(-1) == 448).all()
    torch.testing.assert_close(found.double() * scale, rounded(x.double()), rtol=0.07, atol=0)
    apart = (found.double() * scale - rounded(x.double())).abs() > 1e-5 * x.double().abs()
    assert apart.float().mean() < 1e-3  # ties that float32 breaks in another way


@pytest.mark.parametrize("bias", [True, False])
def test_the_product_of_pytorch_is_the_emulated_one(bias: bool) -> None:
    torch.manual_seed(0)
    rows, weight = to_float8(torch.randn(9, 48)), to_float8(torch.randn(80, 48))
    given = (*rows, *weight, torch.randn(80).bfloat16() if bias else None)
    try:
        found = float8.product(*given)
    except (RuntimeError, TypeError) as error:
        pytest.skip(f"this PyTorch has no such product on the CPU: {str(error).splitlines()[0]}")
    torch.testing.assert_close(found, emulated(*given), rtol=1e-2, atol=1e-2)


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_is_the_product_of_rounded_operands(bias: bool) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(48, 80, bias=bias), torch.randn(2, 7, 48)
    with torch.no_grad():
        expected = F.linear(rounded(x.double()), rounded(layer.weight.double()), layer.bias.double() if bias else None)
        exact = layer(x)
    float8_linears(layer)
    for given in (x, x.transpose(0, 1).contiguous().transpose(0, 1), x.bfloat16()):
        found = layer(given)
        assert (found.dtype, found.shape, found.is_contiguous()) == (torch.bfloat16, (2, 7, 80), True)
        assert difference(found, expected) < (4e-3 if given.dtype == torch.float32 else 2e-2)
    assert 0.01 < difference(layer(x), exact) < 0.06
    assert layer(x[0, 0]).shape == (80,)


@pytest.mark.usefixtures("forced")
def test_there_is_no_nan_where_bfloat16_has_none() -> None:
    torch.manual_seed(0)
    layer, inf = nn.Linear(32, 48), float("inf")
    layer.weight.data[3], layer.weight.data[4], layer.weight.data[5] = 0, 1e-42, 1e-30
    layer.weight.data[6, 2], layer.weight.data[7, 1], layer.weight.data[8] = inf, float("nan"), 3e38
    rows = torch.randn(12, 32)
    rows[0], rows[1], rows[2], rows[3] = 0, 1e-42, 3e38, 1e-30
    rows[4, 5], rows[5, 5], rows[6, 5] = inf, -inf, float("nan")
    rows[7, 2:4] = torch.tensor([inf, -inf])
    rows[8], rows[9] = inf, torch.finfo(torch.float32).tiny
    with torch.no_grad():
        plain = F.linear(rows.bfloat16(), layer.weight.bfloat16(), layer.bias.bfloat16()).isnan()
    float8_linears(layer)
    found = layer(rows)
    assert not (found.isnan() & ~plain).any()
    assert found[6].isnan().all()  # one NaN of a row stays in it
    assert found[:, 7].isnan().all()
    fine = [row for row in range(12) if row not in (6, 7)]
    assert not found[fine][:, [0, 1, 2, 3, 4, 5, 9]].isnan().any()
    torch.testing.assert_close(found[0, [0, 3]], layer.bias[[0, 3]].bfloat16())


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_as_near_to_float32_as_rounding_by_hand(name: str) -> None:
    torch.manual_seed(0)
    model, pixels = model_of(name), torch.randn(16, 3, *[MODELS[name]["image_size"]] * 2)
    for whole in (model, EmbeddingModel(model)):
        expected = float32_of(whole, pixels)
        found = joined(TorchEngine(whole, "cpu", "float8")(pixels))
        assert found.dtype == torch.float32
        by_hand = copy.deepcopy(inference_copy(whole, CPU, FLOAT8)).double()
        for layer in by_hand.modules():
            if isinstance(layer, Float8Linear):
                layer.__class__ = RoundedJoint if isinstance(layer, JointProjection) else Rounded
        with torch.no_grad():
            theirs = difference(joined(by_hand(pixels.double())), expected)
        assert 0.005 < theirs < TOLERANCES[FLOAT8]
        assert 0.7 < difference(found, expected) / theirs < 1.4  # not nearer: the last digits decide where 4 bits end


@pytest.mark.usefixtures("forced")
def test_every_layer_of_a_running_model_rounds_what_it_is_given() -> None:
    model, pixels = model_of("vit_tiny_patch16_224"), torch.randn(4, 3, 32, 32)
    apart = []

    def compare(layer: Any, given: tuple[Any], found: Any) -> None:
        joint = isinstance(layer, JointProjection)
        if len(given) > 1:
            return  # the queries of some tokens, in bfloat16
        x = given[0].x if joint else given[0]
        expected = F.linear(rounded(x.double()), rounded(layer.weight.double()), layer.bias.double())
        if joint:
            found = torch.stack(found).permute(1, 3, 0, 2, 4).flatten(2)
        apart.append(difference(found, expected))

    running = inference_copy(model, CPU, FLOAT8)
    for layer in running.modules():
        if isinstance(layer, Float8Linear):
            layer.register_forward_hook(compare)
    with torch.inference_mode(), reduced_precision(CPU, FLOAT8):
        running(pixels)
    assert len(apart) == 4 * VIT["depth"] - 1  # the last block has queries of one token
    assert max(apart) < 1e-2


def test_layers_that_cannot_or_should_not_stay_as_they_are() -> None:
    model = inference_copy(model_of("vit_tiny_patch16_224"), CPU, FLOAT8)
    changed = {name for name, layer in model.named_modules() if isinstance(layer, Float8Linear)}
    assert len(changed) == 4 * VIT["depth"]
    assert sum(isinstance(layer, Float8JointProjection) for layer in model.modules()) == VIT["depth"]
    wide = vitrail.create_model("vit_tiny_patch16_224", **{**VIT, "num_classes": 32})
    head = next(part for part in inference_copy(wide, CPU, FLOAT8).modules() if isinstance(part, Head))
    assert type(head.classify) is nn.Linear
    odd = nn.Sequential(nn.Linear(24, 32), nn.Linear(32, 24), nn.Linear(32, 16))
    float8_linears(odd)
    assert [type(layer) for layer in odd] == [nn.Linear, nn.Linear, Float8Linear]
    with pytest.raises(VitrailError, match=r"multiples of 16, and this model has none: use --precision bfloat16"):
        float8_linears(nn.Linear(24, 24))
    with pytest.raises(VitrailError, match="is for models of vitrail"):
        inference_copy(nn.Sequential(nn.Linear(16, 16)), CPU, FLOAT8)


@pytest.mark.usefixtures("forced")
def test_changed_weights_are_followed_and_the_model_given_stays() -> None:
    model, pixels = model_of("vit_tiny_patch16_224"), torch.randn(2, 3, 32, 32)
    names = list(model.state_dict())
    engine = TorchEngine(model, "cpu", "float8")
    first = engine(pixels)
    assert engine.precision == FLOAT8
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(1.1)
    assert difference(engine(pixels), first) > 0.01
    assert difference(engine(pixels), float32_of(model, pixels)) < TOLERANCES[FLOAT8]
    assert not any(isinstance(layer, Float8Linear) for layer in model.modules())
    assert list(model.state_dict()) == names
    assert not any("weight8" in name for name in inference_copy(model, CPU, FLOAT8).state_dict())


def difference_of_batches() -> Iterator[float]:
    """Difference of the compiled engine from the eager one; from the second batch on, its size is no constant."""
    product = float8.product
    with pytest.MonkeyPatch.context() as patch:
        force(patch)
        if devices._multiplies_float8(CPU):
            patch.setattr(float8, "product", product)
        model = model_of("vit_tiny_patch16_224")
        compiled, eager = CompiledEngine(model, "cpu", "float8"), TorchEngine(model, "cpu", "float8")
        for batch in (2, 3, 5):
            pixels = torch.randn(batch, 3, 32, 32)
            yield difference(compiled(pixels), eager(pixels))
            assert compiled.checked
            assert compiled.compiled is not None


def test_it_compiles_as_one_graph() -> None:
    subprocess.run([sys.executable, "-m", "tests.engines.compiled_float8"], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_the_first_batch_is_compared_with_float32(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitrail.engines.compiled_engine.compile_frozen", lambda model, device: model)
    monkeypatch.setitem(agreement.TOLERANCES, FLOAT8, 1e-3)
    made = make_engine(model_of("vit_tiny_patch16_224"), engine=engine, device="cpu", precision="float8")
    with pytest.raises(VitrailError, match=rf"engine {engine} with float8 differs .* use --precision bfloat16"):
        made(torch.randn(2, 3, 32, 32))


def test_devices_without_it_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("vit_tiny_patch16_224")
    for engine in ("torch", "compiled"):
        with pytest.raises(VitrailError, match=r"no precision 'float8' on the CPU: it needs .* --precision bfloat16"):
            make_engine(model, engine=engine, device="cpu", precision="float8")
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "A100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (8, 0))
    with pytest.raises(VitrailError, match=r"on A100 \(capability 8\.0\)"):
        make_engine(model, device="cuda", precision="float8")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
    monkeypatch.setattr(devices, "_multiplies_float8", lambda device: False)
    assert not devices.has_float8(gpu)
    monkeypatch.setattr(devices, "_multiplies_float8", lambda device: True)
    assert devices.has_float8(gpu)
    assert not devices.has_float8(CPU)


def test_a_product_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for right, product in ((True, 128.0), (False, 127.0)):
        monkeypatch.setattr(torch, "_scaled_mm", lambda *given, value=product, **more: torch.full((32, 32), value))
        assert devices._multiplies_float8.__wrapped__(CPU) is right

    def refuses(*given: Any, **more: Any) -> Tensor:
        raise RuntimeError("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED")

    monkeypatch.setattr(torch, "_scaled_mm", refuses)
    assert devices._multiplies_float8.__wrapped__(CPU) is False


def test_where_it_makes_no_sense_it_is_refused(tmp_path: Path) -> None:
    for work in (
        lambda: pick_precision("float8", CPU),
        lambda: vitrail.plan("vit_tiny_patch16_224", precision="float8"),
        lambda: Setting(engine="openvino", precision="float8"),
        lambda: vitrail.train("digits", vitrail.Recipe(precision="float8"), out=tmp_path),  # type: ignore[arg-type]
    ):
        with pytest.raises(VitrailError, match="float8"):
            work()
    assert str(Setting(engine="compiled", precision="float8")) == "compiled, float8"


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_other_engines_do_not_have_it(engine: str) -> None:
    pytest.importorskip(engine)
    with pytest.raises(VitrailError, match="float8"):
        make_engine(model_of("vit_tiny_patch16_224"), engine=engine, precision="float8")


def test_heads_stay() -> None:
    for name in ("deit_tiny_distilled_patch16_224", "vit_tiny_patch16_224"):
        model = vitrail.create_model(name, **{**VIT, "num_classes": 32}).eval()
        float8_linears(model)
        assert not any(isinstance(layer, Float8Linear) for layer in model.head.modules())
        assert any(isinstance(layer, Float8Linear) for layer in model.encoder.modules())


def test_optimize_tries_it_where_there_are_images(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, names = torch.device("cuda", 0), ("torch", "compiled")
    monkeypatch.setattr(candidates, "has_fast_bfloat16", lambda device: True)
    monkeypatch.setattr(candidates, "has_float8", lambda device: True)
    tried = [str(setting) for setting in candidates.plain(gpu, names, True)]
    assert tried[-2:] == ["torch, float8", "compiled, float8"]
    assert not any("float8" in str(setting) for setting in candidates.plain(gpu, names, False))
    monkeypatch.setattr(candidates, "has_float8", lambda device: False)
    assert not any("float8" in str(setting) for setting in candidates.plain(gpu, names, True))
