"""Batches of any size through graphs of fixed sizes, beside PyTorch."""

import pytest
import torch

from tests.evaluation.small_checkpoint import tiny_checkpoint
from vitrail.engines.onnx_graph import to_onnx
from vitrail.engines.program import to_program

pytest.importorskip("openvino")
from vitrail.engines import openvino_graph
from vitrail.engines.openvino_graph import OpenVINOGraph, to_openvino

pytestmark = pytest.mark.filterwarnings("ignore")  # of exporters


@pytest.mark.parametrize(
    ("streams", "counts", "sizes"),
    [
        # A larger graph serves a smaller part at first; from its second time on one of less than twice the size.
        (1, (4, 3, 1, 1, 0, 2, 9, 2), {4, 1, 9, 2}),
        (2, (8, 5, 1, 1, 3), {4, 1, 2}),
    ],
)
def test_batches_of_any_size(streams: int, counts: tuple[int, ...], sizes: set[int]) -> None:
    model = tiny_checkpoint().model.eval()
    graph = OpenVINOGraph(to_openvino(to_program(model, torch.zeros(2, 3, 8, 8))), streams=streams)
    given = [torch.randn(count, 3, 8, 8) for count in (*counts, counts[-1])]
    found = [graph(pixels)[0] for pixels in given]
    for mine, pixels in zip(found, given, strict=True):  # after all calls: the outputs share no buffer
        with torch.no_grad():
            torch.testing.assert_close(mine, model(pixels), rtol=1e-4, atol=1e-5)
    assert set(graph.requests) == sizes


def test_few_sizes_are_kept() -> None:
    graph = OpenVINOGraph(to_openvino(to_program(tiny_checkpoint().model.eval(), torch.zeros(2, 3, 8, 8))))
    for count in (1, 2, 3, 4, 5, 6, 5):
        graph(torch.zeros(count, 3, 8, 8))
    assert list(graph.requests) == [3, 4, 6, 5]


def test_models_are_converted_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through ONNX the attention is written out, and its keys are copied once more."""
    program = to_program(tiny_checkpoint().model.eval(), torch.zeros(2, 3, 8, 8))
    monkeypatch.setattr(openvino_graph, "to_onnx", None)
    kinds = [layer.get_type_name() for layer in to_openvino(program).get_ops()]
    assert "ScaledDotProductAttention" in kinds
    through_onnx = openvino_graph.core().read_model(to_onnx(program).SerializeToString())
    assert "ScaledDotProductAttention" not in [layer.get_type_name() for layer in through_onnx.get_ops()]
