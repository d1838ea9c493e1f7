"""The engines of other runtimes beside PyTorch's."""

import sys
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from tests.evaluation.small_checkpoint import tiny_checkpoint
from vitrail.engines import agreement
from vitrail.engines.agreement import difference, example_pixels
from vitrail.engines.compiled_engine import CompiledEngine
from vitrail.engines.engine import make_engine
from vitrail.errors import VitrailError
from vitrail.nn import EmbeddingModel

pytestmark = pytest.mark.filterwarnings("ignore")  # of exporters and runtimes


def outputs(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    return make_engine(model, device="cpu", precision="float32")(pixels)


@pytest.mark.parametrize("name", ["openvino", pytest.param("onnxruntime", marks=pytest.mark.exhaustive)])
def test_an_engine_agrees_for_batches_and_sizes_of_any_kind(name: str) -> None:
    pytest.importorskip(name)
    model = tiny_checkpoint().model
    engine = make_engine(model, engine=name, precision="float32")
    given = [torch.randn(count, 3, 8, 8) for count in (5, 1, 3)]
    found = [engine(pixels) for pixels in given]
    assert all(each.dtype == torch.float32 and each.device.type == "cpu" for each in found)
    for mine, pixels in zip(found, given, strict=True):  # after all calls: the outputs share no buffer
        torch.testing.assert_close(mine, outputs(model, pixels), rtol=1e-4, atol=1e-5)
    whole = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    torch.testing.assert_close(engine(whole), outputs(model, whole.float()), rtol=1e-4, atol=1e-4)


@pytest.mark.exhaustive
def test_openvino_runs_parts_of_a_batch_at_the_same_time() -> None:
    pytest.importorskip("openvino")
    from vitrail.engines.openvino_engine import OpenVINOEngine

    model = EmbeddingModel(tiny_checkpoint().model)
    engine = OpenVINOEngine(model, "cpu", "float32", streams=3)
    for count in (1, 2, 7):
        pixels = torch.randn(count, 3, 8, 8)
        torch.testing.assert_close(engine(pixels), outputs(model, pixels), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"engine": "openvino", "device": "cuda"}, "runs on the CPU, not on cuda"),
        ({"engine": "openvino", "precision": "float16"}, "no float16 on the CPU"),
        ({"engine": "onnxruntime", "precision": "bfloat16"}, "computes in float32, not in bfloat16"),
    ],
)
def test_what_an_engine_cannot_do_is_a_sentence(words: dict[str, str], message: str) -> None:
    pytest.importorskip(words["engine"])
    with pytest.raises(VitrailError, match=message):
        make_engine(tiny_checkpoint().model, **words)


@pytest.mark.parametrize(("name", "extra"), [("openvino", "openvino"), ("onnxruntime", "onnx")])
def test_a_missing_package_is_a_sentence(name: str, extra: str, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(VitrailError, match=rf'pip install "vitrail\[{extra}\]"'):
        make_engine(tiny_checkpoint().model, engine=name)


def test_an_engine_that_disagrees_is_refused(monkeypatch: Any) -> None:
    from vitrail.engines.graph_engine import GraphEngine

    class Doubled(GraphEngine):
        name = "doubled"

        def compile(self, program: Any, dtype: torch.dtype) -> Any:
            return lambda batch: [2 * self.model(batch).detach()]

    with pytest.raises(VitrailError, match=r"engine doubled with float32 differs from PyTorch by 1\.0e\+00"):
        Doubled(tiny_checkpoint().model, torch.device("cpu"), torch.float32)
    with pytest.raises(VitrailError, match="runs models of vitrail that take images alone"):
        example_pixels(nn.Linear(2, 2))


def test_the_relative_difference() -> None:
    one = torch.tensor([3.0, 4.0])
    assert difference(one, one) == 0
    assert difference({"a": one + torch.tensor([0.0, 0.5])}, {"a": one}) == pytest.approx(0.1)
    assert difference(one * float("nan"), one) == float("inf")
    assert difference(one[:1], one) == float("inf")


class Backend:
    """In place of Inductor."""

    def __init__(self, then: Any) -> None:
        self.then = then

    def __call__(self, model: nn.Module, device: torch.device) -> Any:
        return lambda pixels: self.then(model(pixels))


def test_the_compiled_engine_checks_its_first_batch_and_falls_back(monkeypatch: Any) -> None:
    home = "vitrail.engines.compiled_engine.compile_frozen"
    model, pixels = tiny_checkpoint().model, torch.randn(2, 3, 8, 8)
    expected = outputs(model, pixels)
    monkeypatch.setattr(home, Backend(lambda output: output))
    torch.testing.assert_close(CompiledEngine(model, "cpu", "float32")(pixels), expected)
    monkeypatch.setattr(home, Backend(lambda output: output + 1))
    with pytest.raises(VitrailError, match="engine compiled with float32 differs"):
        CompiledEngine(model, "cpu", "float32")(pixels)

    def fails(output: Any) -> Any:
        raise RuntimeError("no C++ compiler\nand more")

    monkeypatch.setattr(home, Backend(fails))
    engine = CompiledEngine(model, "cpu", "float32")
    with pytest.warns(UserWarning, match=r"torch.compile failed \(no C\+\+ compiler\): the model runs without it"):
        torch.testing.assert_close(engine(pixels), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(engine(pixels), expected)


def test_the_tolerances_are_those_of_the_docs() -> None:
    assert agreement.TOLERANCES[torch.float32] == 1e-3
    assert agreement.TOLERANCES[torch.bfloat16] == 3e-2
