"""Exported models: read and run by their own runtimes, beside the Predictor on the same files."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.evaluation.small_checkpoint import CLASSES, tiny_checkpoint, write_image
from tests.models.test_families import DATA_DEPENDENT, SMALLEST, build
from vitrail import export, save
from vitrail.checkpoint.contract import Checkpoint
from vitrail.data.preprocess import Preprocess
from vitrail.engines.export_check import generated_files
from vitrail.engines.export_facts import export_facts, facts_document
from vitrail.engines.onnx_graph import store_half
from vitrail.engines.openvino_runtime import core
from vitrail.engines.predictor import make_predictor
from vitrail.engines.served import ServedModel
from vitrail.errors import VitrailError
from vitrail.models.registry import create_model
from vitrail.task_spec import TaskSpec
from vitrail.tasks.registry import TASKS, resolve

pytestmark = pytest.mark.filterwarnings("ignore")  # of exporters and runtimes

VIT = {"image_size": 8, "patch_size": 4, "embed_dim": 16, "num_heads": 2, "depth": 1}


def calibrated() -> Checkpoint:
    """A classifier with a temperature and a floor, and mean and deviation of its own for each channel."""
    checkpoint = tiny_checkpoint()
    task = TaskSpec.of("classification", temperature=(0.3,), floor=0.02)
    model = replace(checkpoint.config, task=task).build().eval()
    preprocess = Preprocess(image_size=(8, 8), crop=0.8, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25))
    return Checkpoint(model, CLASSES, preprocess, {"architecture": "custom", "license": "CC-BY-4.0"})


def numbers() -> Checkpoint:
    task = TaskSpec.of("regression", mean=(40.0, 1.7), scale=(10.0, 0.1))
    model = create_model("vit_tiny_patch16_224", num_classes=2, task=task, **VIT).eval()
    return Checkpoint(model, ("age", "height"), Preprocess(image_size=(8, 8)), {})


def probabilities(checkpoint: Checkpoint, images: list[Any]) -> np.ndarray:
    """By the Predictor, in the order of the classes."""
    predictor = make_predictor(checkpoint, device="cpu", precision="float32")
    rows = [dict(prediction.classes) for prediction in predictor(images)]
    return np.array([[row[name] for name in checkpoint.class_names] for row in rows])


def images() -> list[Image.Image]:
    noise = np.random.default_rng(1).integers(0, 256, (3, 19, 13, 3), dtype=np.uint8)
    return [Image.fromarray(image) for image in noise]


def resized(checkpoint: Checkpoint) -> torch.Tensor:
    return torch.stack([checkpoint.preprocess.fit(_tensor(image)) for image in images()])


def _tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image).transpose(2, 0, 1).copy())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_the_module_that_is_exported_gives_calibrated_probabilities(dtype: torch.dtype) -> None:
    checkpoint = calibrated()
    given = resized(checkpoint)
    served = ServedModel(checkpoint, dtype)
    with torch.inference_mode():
        found = served(given if dtype == torch.uint8 else given / 255)
    np.testing.assert_allclose(found.numpy(), probabilities(checkpoint, images()), atol=1e-6)


def test_the_tensors_of_other_tasks() -> None:
    output = torch.tensor([[1.0, -2.0]])
    assert resolve(numbers().task).decoded(output).tolist() == [[50.0, pytest.approx(1.5)]]
    assert resolve(TaskSpec("embedding")).decoded(output).tolist() == [[1.0, -2.0]]
    many = resolve(TaskSpec.of("classification", labels="many", temperature=(0.5, 2.0)))
    torch.testing.assert_close(many.decoded(output), torch.tensor([[2.0, -1.0]]).sigmoid())


def test_the_facts_have_what_a_program_needs() -> None:
    checkpoint = calibrated()
    facts = export_facts(checkpoint, ServedModel(checkpoint))
    document = json.loads(facts_document(facts))
    assert document["class_names"] == list(CLASSES)
    assert document["license"] == "CC-BY-4.0"
    assert document["preprocess"]["crop"] == 0.8
    assert document["task"]["floor"] == 0.02
    assert document["output"] == "probabilities"


def test_onnx_is_run_and_read_by_onnxruntime(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    checkpoint = calibrated()
    written = export(checkpoint, tmp_path / "model.onnx", images=write_image(tmp_path / "a.png", 1))
    assert written.images == 1
    assert written.difference < 1e-5
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    assert [(given.name, given.type) for given in session.get_inputs()] == [("images", "tensor(uint8)")]
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["class_names"]) == list(CLASSES)
    for count in (3, 1):
        (found,) = session.run(["probabilities"], {"images": resized(checkpoint)[:count].numpy()})
        np.testing.assert_allclose(found, probabilities(checkpoint, images()[:count]), atol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "model.onnx"]


def test_openvino_is_run_and_read_by_openvino(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    checkpoint = calibrated()
    assert export(checkpoint, tmp_path / "model", format="openvino").path == tmp_path / "model.xml"
    model = core().read_model(tmp_path / "model.xml")
    assert json.loads(model.get_rt_info(["vitrail", "class_names"]).value) == list(CLASSES)
    compiled = core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for count in (3, 1):
        found = compiled(resized(checkpoint)[:count].numpy())["probabilities"]
        np.testing.assert_allclose(found, probabilities(checkpoint, images()[:count]), atol=1e-5)


def test_torch_export_is_read_by_torch(tmp_path: Path) -> None:
    checkpoint = numbers()
    export(checkpoint, tmp_path / "model.pt2")
    extra = {"vitrail.json": ""}
    module = torch.export.load(tmp_path / "model.pt2", extra_files=extra).module()
    assert json.loads(extra["vitrail.json"])["class_names"] == ["age", "height"]
    predictor = make_predictor(checkpoint, device="cpu", precision="float32")
    expected = [[value for _, value in prediction.values] for prediction in predictor(images())]
    given = torch.stack([checkpoint.preprocess.fit(_tensor(image)) for image in images()])
    torch.testing.assert_close(module(given), torch.tensor(expected))
    export(checkpoint, tmp_path / "model.pt2")  # recognised as an export


def test_what_cannot_be_exported_is_refused_and_nothing_is_left(tmp_path: Path, monkeypatch: Any) -> None:
    checkpoint = tiny_checkpoint()
    other = tmp_path / "notes.pt2"
    other.write_text("not an export")
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("notes.pt2", {}, "exists and is not an export"),
        ("x.unknown", {}, "has no suffix of a format"),
        ("x.pt2", {"format": "onxn"}, "there is no format 'onxn': did you mean onnx"),
        ("x.pt2", {"half": True}, "torch stores weights in float32 only"),
        ("x.pt2", {"image_size": 16}, "image_size is for checkpoints on disk"),
        ("x.pt2", {"images": tmp_path / "missing"}, "missing"),
    ]
    for name, options, message in cases:
        with pytest.raises(VitrailError, match=message):
            export(checkpoint, tmp_path / name, **options)
    monkeypatch.setattr("vitrail.engines.export.largest_difference", lambda *given: float("nan"))
    with pytest.raises(VitrailError, match=r"differs from PyTorch by nan, more than 0\.001: nothing was written"):
        export(checkpoint, tmp_path / "x.pt2")
    assert os.listdir(tmp_path) == ["notes.pt2"]
    assert other.read_text() == "not an export"


def test_a_missing_package_is_a_sentence(tmp_path: Path, monkeypatch: Any) -> None:
    for module in ("executorch.exir", "openvino", "onnxruntime"):
        monkeypatch.setitem(sys.modules, module, None)
    for suffix, extra in ((".pte", "executorch"), (".xml", "openvino"), (".onnx", "onnx")):
        with pytest.raises(VitrailError, match=rf'pip install "vitrail\[{extra}\]"'):
            export(tiny_checkpoint(), tmp_path / f"x{suffix}")
    assert not list(tmp_path.iterdir())


def test_weights_of_onnx_in_float16() -> None:
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(64, 32)).astype("float32"), rng.normal(size=32).astype("float32")
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["y"]),
        onnx.helper.make_node("Add", ["y", "b"], ["z"]),
    ]
    spots = [onnx.helper.make_tensor_value_info(name, 1, [None, size]) for name, size in (("x", 64), ("z", 32))]
    stored = [onnx.numpy_helper.from_array(array, name) for name, array in (("w", weight), ("b", bias))]
    graph = onnx.helper.make_graph(nodes, "g", spots[:1], spots[1:], stored)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    store_half(model)
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert kinds == {"w.float16": onnx.TensorProto.FLOAT16, "b": onnx.TensorProto.FLOAT}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = rng.normal(size=(2, 64)).astype("float32")
    expected = x @ weight.astype("float16").astype("float32") + bias
    np.testing.assert_allclose(session.run(None, {"x": x})[0], expected, rtol=1e-5, atol=1e-5)


def test_generated_files_are_of_several_kinds() -> None:
    from io import BytesIO

    opened = {name: Image.open(BytesIO(data)) for name, data in generated_files()}
    assert {image.mode for image in opened.values()} == {"RGB", "L", "CMYK", "RGBA"}
    assert opened["rotated.jpg"].getexif()[0x0112] == 6
    assert not np.array(opened["black.png"]).any()


def test_a_model_without_a_task_is_refused(tmp_path: Path) -> None:
    model = build("mae_vit_base_patch16").eval()
    with pytest.raises(VitrailError, match="models for reconstruction can be built"):
        export(Checkpoint(model, (), Preprocess(image_size=(64, 64))), tmp_path / "x.onnx")


EXPORTED = [name for name in SMALLEST if name not in DATA_DEPENDENT]


@pytest.mark.exhaustive
@pytest.mark.parametrize("form", ["onnx", "openvino"])
@pytest.mark.parametrize("name", EXPORTED)
def test_every_family_with_a_task_is_exported(name: str, form: str, tmp_path: Path) -> None:
    model = build(name).eval()
    if model.config.task.name not in TASKS:
        pytest.skip(f"task {model.config.task.name}")
    height, width = model.config.pixels_shape[-2:]
    save(Checkpoint(model, (), Preprocess(image_size=(height, width))), tmp_path / "checkpoint")
    if len(model.config.example_inputs()) > 1:
        with pytest.raises(VitrailError, match="this model takes more than images"):
            export(tmp_path / "checkpoint", tmp_path / "model", format=form)
        return
    export(tmp_path / "checkpoint", tmp_path / "model", format=form)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", sorted(DATA_DEPENDENT))
def test_models_whose_tokens_depend_on_the_image_are_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = build(name).eval()
    with pytest.raises(VitrailError, match="number of tokens depends on what is in the image"):
        export(Checkpoint(model, (), Preprocess(image_size=(64, 64))), tmp_path / "x.pt2")
    assert not capsys.readouterr().err  # PyTorch prints the whole graph


def test_any_size_of_a_model_with_positions_for_one_is_refused(tmp_path: Path) -> None:
    # PyTorch calls the sides free: its graph has the positions of one number of patches, and a guard.
    with pytest.raises(VitrailError, match="depends on the image size"):
        export(tiny_checkpoint(), tmp_path / "x.pt2", any_size=True)


@pytest.mark.exhaustive
def test_any_size_where_the_layers_can(tmp_path: Path) -> None:
    model = build("mobilenet_v3_small").eval()
    export(Checkpoint(model, (), Preprocess(image_size=(64, 64))), tmp_path / "x.pt2", any_size=True)
    with pytest.raises(VitrailError, match="depends on the image size"):
        export(tiny_checkpoint(), tmp_path / "y.pt2", any_size=True)
