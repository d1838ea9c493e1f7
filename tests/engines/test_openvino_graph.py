"""Batches of any size through graphs of fixed sizes, beside PyTorch."""

from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_leaves

from tests.evaluation.small_checkpoint import tiny_checkpoint
from vitrail import create_model
from vitrail.engines.program import to_program
from vitrail.rewrites.inference import for_inference

pytest.importorskip("openvino")
from vitrail.engines import openvino_convert
from vitrail.engines.openvino_convert import to_openvino
from vitrail.engines.openvino_engine import OpenVINOEngine
from vitrail.engines.openvino_graph import OpenVINOGraph

pytestmark = pytest.mark.filterwarnings("ignore")  # of exporters


@pytest.mark.parametrize(
    ("streams", "counts", "sizes"),
    [
        # A part of more than half of a size is filled up to it; the fourth size and later ones share a graph.
        (1, (4, 3, 1, 1, 0, 2, 9, 2), {4, 1, 2, 0}),
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


def test_every_output_of_a_batch_that_is_filled_up() -> None:
    model = create_model(
        "compact_detector_small_128",
        image_size=32, stem=((8, 2), (16, 2), (16, 2)), embed_dim=16, num_heads=2, depth=1, pyramid_dim=8,
    ).eval()  # fmt: skip
    graph = OpenVINOGraph(to_openvino(to_program(model, torch.zeros(2, 3, 32, 32))), dtype=torch.uint8)
    for count in (4, 3):
        pixels = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8)
        with torch.no_grad():
            expected = tree_leaves(model(pixels.float()))
        for mine, true in zip(graph(pixels), expected, strict=True):
            torch.testing.assert_close(mine, true, rtol=1e-3, atol=1e-3)
    assert set(graph.requests) == {4}


def test_the_graph_of_the_comparison_is_freed() -> None:
    engine = OpenVINOEngine(tiny_checkpoint().model, "cpu", "float32")
    (graph,) = engine.graphs.values()
    assert graph.requests == {}


@pytest.mark.parametrize(
    ("variant", "changes"),
    [
        ("vit_tiny_patch16_224", {"image_size": 32, "embed_dim": 16, "num_heads": 2, "depth": 2}),
        ("swinv2_tiny_window8_256",
         {"image_size": 64, "depths": (1, 1), "num_heads": (1, 2), "embed_dim": 16, "window_size": 4}),
        ("beit_base_patch16_224", {"image_size": 32, "embed_dim": 16, "num_heads": 2, "depth": 2}),
        ("timesformer_base_patch16_224",
         {"image_size": 32, "num_frames": 2, "embed_dim": 16, "num_heads": 2, "depth": 2}),
    ],
)  # fmt: skip
def test_models_are_converted_directly(variant: str, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Through ONNX the attention is written out, and its keys are copied once more."""
    torch.manual_seed(0)
    model = for_inference(create_model(variant, **changes, num_classes=5), graph=True)
    example = model.config.example_inputs(2)[0]
    monkeypatch.setattr(openvino_convert, "to_onnx", None)
    made = to_openvino(to_program(model, torch.zeros_like(example)))
    assert "ScaledDotProductAttention" in [layer.get_type_name() for layer in made.get_ops()]
    graph = OpenVINOGraph(made)
    for count in (3, 2):  # the second is filled up
        pixels = torch.randn(count, *example.shape[1:])
        with torch.no_grad():
            torch.testing.assert_close(graph(pixels)[0], model(pixels), rtol=1e-3, atol=1e-4)
