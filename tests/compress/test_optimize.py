"""`vitrail optimize` on a tiny model, with made-up speeds, so that the choice is known."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils._pytree import tree_leaves, tree_structure

import vitrail
from vitrail.compress import candidates
from vitrail.compress.images import read_test_images
from vitrail.compress.measure import Bench
from vitrail.compress.optimize import Optimised, optimize
from vitrail.compress.options import OptimizeOptions
from vitrail.compress.page import files, summary
from vitrail.data.learned_tokenizer import learn_tokenizer
from vitrail.engines.choice import Setting, stored_choice
from vitrail.engines.predictor import make_predictor
from vitrail.engines.stored_files import compiled_files
from vitrail.engines.stored_graph import StoredGraph
from vitrail.engines.torch_engine import TorchEngine
from vitrail.engines.zero_shot import ZeroShotEngine, zero_shot_predictor
from vitrail.errors import VitrailError
from vitrail.models.compact_clip import CompactCLIPConfig
from vitrail.pages.files import results_page
from vitrail.rewrites.tokens import MergeTokens

pytest.importorskip("openvino")
NAMES = ("one", "two", "three")
MEASURED = Bench.measured


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = vitrail.create_model(
        "vit_tiny_patch16_224", image_size=16, patch_size=4, embed_dim=32, num_heads=2, depth=2, num_classes=3
    )
    for parameter in model.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape)
    vitrail.save(vitrail.Checkpoint(model, NAMES, vitrail.Preprocess(image_size=(16, 16))), tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    generator = torch.Generator().manual_seed(1)
    for name in NAMES:
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(4):
            values = torch.randint(0, 256, (20, 24, 3), generator=generator, dtype=torch.uint8)
            Image.fromarray(values.numpy()).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


def raced(monkeypatch: pytest.MonkeyPatch, speeds: Mapping[str, float]) -> None:
    """Replace the clock: a setting takes 1 / speed of the time of the unmodified model, by its words."""

    def known(bench: object, setting: Setting, *rest: object) -> object:
        monkeypatch.setattr(
            "vitrail.compress.measure.race",
            lambda runners, device, **options: {"unmodified": 1.0, "setting": 1 / speeds.get(str(setting), 0.5)},
        )
        return MEASURED(bench, setting, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("vitrail.compress.optimize.Bench.measured", known)


def only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(candidates, "engines", lambda device, wanted: list(names))
    monkeypatch.setattr(candidates, "has_fast_bfloat16", lambda device: False)


def test_an_exact_setting_is_stored_and_used(folder: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "torch", "openvino")
    raced(monkeypatch, {"torch, float32": 1.2, "openvino, float32": 2.0})
    before = list(vitrail.predict(folder, photos, engine="torch", precision="float32"))
    found = optimize(folder)
    assert found.chosen is not None
    assert found.chosen.name == "openvino, float32"
    assert found.chosen.difference < 1e-5
    checkpoint = vitrail.load(folder)
    assert isinstance(make_predictor(checkpoint, engine="auto").engine, StoredGraph)
    assert isinstance(make_predictor(checkpoint, engine="torch").engine, TorchEngine)
    asked = make_predictor(checkpoint, engine="auto", precision="float32")
    assert isinstance(asked.engine, TorchEngine)
    after = list(vitrail.predict(folder, photos))
    assert [each.label for each in after] == [each.label for each in before]
    for mine, other in zip(after, before, strict=True):
        assert dict(mine.classes) == pytest.approx(dict(other.classes), abs=1e-5)
    vectors = vitrail.embed(folder, photos).vectors
    torch.testing.assert_close(
        vectors, vitrail.embed(folder, photos, engine="torch", precision="float32").vectors, atol=1e-4, rtol=1e-4
    )


SMALL = {"stem": ((4, 2), (8, 2), (16, 2)), "embed_dim": 16, "num_heads": 2, "depth": 1, "image_size": 32}
SEVERAL = {
    "detection": ("compact_detector_small_128", {"num_classes": 3, "pyramid_dim": 8}, NAMES),
    "universal": ("compact_universal_small_128", {"dense_dim": 8, "pyramid_dim": 8}, ()),
}


@pytest.mark.parametrize("engine", ["openvino", pytest.param("onnxruntime", marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("kind", ["detection", pytest.param("universal", marks=pytest.mark.exhaustive)])
def test_a_graph_with_several_outputs_is_stored_and_used(
    kind: str, engine: str, tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, fields, names = SEVERAL[kind]
    model = vitrail.create_model(name, **SMALL, **fields)
    vitrail.save(vitrail.Checkpoint(model, names, vitrail.Preprocess(image_size=(32, 32))), tmp_path / "checkpoint")
    only(monkeypatch, "torch", engine)
    raced(monkeypatch, {"torch, float32": 1.2, f"{engine}, float32": 2.0})
    found = optimize(tmp_path / "checkpoint")
    assert found.chosen is not None
    assert found.chosen.name == f"{engine}, float32"
    checkpoint = vitrail.load(tmp_path / "checkpoint")
    fast, plain = (
        make_predictor(checkpoint, engine="auto"),
        make_predictor(checkpoint, engine="torch", precision="float32"),
    )
    assert isinstance(fast.engine, StoredGraph)
    batches = [torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)]
    for mine, its in zip(
        *(tree_leaves(fast.engine(values)) for values in (batches[0], batches[0].float())), strict=True
    ):
        torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-5)
    (one,), (other,) = (list(predictor.outputs(batches)) for predictor in (fast, plain))
    assert tree_structure(one) == tree_structure(other)
    for mine, its in zip(tree_leaves(one), tree_leaves(other), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-3, atol=1e-4)


def test_the_images_of_a_model_of_images_and_texts(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = learn_tokenizer(["a red circle", "a blue square"] * 2)
    config = CompactCLIPConfig(
        image_size=16,
        stem=((8,), (16,)),
        embed_dim=16,
        depth=1,
        num_heads=2,
        text_dim=16,
        text_depth=1,
        text_heads=2,
        vocab_size=words.vocab_size,
        context_length=words.context_length,
    )
    made = vitrail.Checkpoint(config.build(), (), vitrail.Preprocess(image_size=(16, 16)), tokenizer=words.to_json())
    vitrail.save(made, tmp_path / "checkpoint")
    only(monkeypatch, "torch", "openvino")
    raced(monkeypatch, {"torch, float32": 1.2, "openvino, float32": 2.0})
    found = optimize(tmp_path / "checkpoint", photos)
    assert found.chosen is not None
    assert found.chosen.name == "openvino, float32"
    assert found.chosen.drop == 0
    checkpoint, classes = vitrail.load(tmp_path / "checkpoint"), ("a red circle", "a blue square")
    predictor = zero_shot_predictor(checkpoint, classes, engine="auto")
    assert isinstance(predictor.engine, ZeroShotEngine)
    assert isinstance(predictor.engine.vectors, StoredGraph)
    plain = vitrail.predict(checkpoint, photos, classes=classes, engine="torch", precision="float32")
    for mine, other in zip(vitrail.predict(checkpoint, photos, classes=classes), plain, strict=True):
        assert dict(mine.classes) == pytest.approx(dict(other.classes), abs=1e-4)


def test_a_choice_that_does_not_fit_is_named_and_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "torch")
    raced(monkeypatch, {"torch, float32": 1.2})
    stored = optimize(folder).stored
    checkpoint = vitrail.load(folder)
    assert stored is not None
    assert stored_choice(checkpoint) is not None
    with torch.no_grad():
        next(checkpoint.model.parameters()).add_(1)
    with pytest.warns(UserWarning, match="other weights"):
        assert stored_choice(checkpoint) is None
    with pytest.warns(UserWarning, match="other weights, or another config"):
        assert stored_choice(vitrail.load(folder, image_size=32)) is None
    monkeypatch.setattr("vitrail.engines.choice.version", lambda package: "0.1")
    with pytest.warns(UserWarning, match="it was measured with torch"):
        assert stored_choice(vitrail.load(folder)) is None
    monkeypatch.undo()
    (stored / "choice.json").write_text("{}")
    with pytest.warns(UserWarning, match="damaged"):
        assert stored_choice(vitrail.load(folder)) is None
    with monkeypatch.context() as other, warnings.catch_warnings():
        warnings.simplefilter("error")
        other.setattr("vitrail.engines.choice.cpu_name", lambda: "another machine")
        assert stored_choice(vitrail.load(folder)) is None


def test_nothing_faster_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "torch")
    raced(monkeypatch, {"torch, float32": 1.2})
    optimize(folder)
    raced(monkeypatch, {"torch, float32": 0.9})
    found = optimize(folder)
    assert (found.chosen, found.stored) == (None, None)
    assert stored_choice(vitrail.load(folder)) is None
    assert "nothing is stored" in summary(found)


def test_the_page_where_the_unmodified_model_is_on_the_front(
    folder: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "torch")
    raced(monkeypatch, {"torch, float32": 0.9})
    found = optimize(folder, photos, options=OptimizeOptions(max_drop=0))
    assert found.chosen is None
    points: list[tuple[float, float]] = []
    monkeypatch.setattr("vitrail.compress.page.scatter_chart", lambda given, **rest: points.extend(given) or "")
    page = results_page(files(found, "checkpoint"))
    assert points[0] == (1.0, 0.0)  # no speed-up, no points lost
    assert "unmodified model" in page[page.index("The Pareto front") :]


def test_with_images_and_labels(
    folder: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("nncf")
    only(monkeypatch, "torch", "openvino")
    monkeypatch.setattr(candidates, "reductions", lambda patches: [])
    raced(monkeypatch, {"openvino, int8 and float32": 2.0, "openvino, float32": 1.5})
    found = optimize(folder, photos, options=OptimizeOptions(max_drop=100, limit=9))
    assert found.images == 9
    assert found.chosen is not None
    assert found.chosen.name == "openvino, int8 and float32"
    assert isinstance(make_predictor(vitrail.load(folder), engine="auto").engine, StoredGraph)
    assert len(list(vitrail.predict(folder, photos))) == 12
    assert any("accuracy on 9 images" in note for note in found.notes)
    assert capfd.readouterr().out == ""  # no progress bars of NNCF


def test_fewer_tokens_are_chosen_and_used(folder: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "torch")
    monkeypatch.setattr(candidates, "reductions", lambda patches: [MergeTokens(r=1)])
    merged = "torch, float32, merge_tokens r 1, schedule constant"
    raced(monkeypatch, {"torch, float32": 1.5, merged: 3.0})
    found = optimize(folder, photos, options=OptimizeOptions(max_drop=100, limit=9))
    assert found.chosen is not None
    assert found.chosen.name == merged
    assert make_predictor(vitrail.load(folder), engine="auto").engine.model.rewrites[0] == MergeTokens(r=1)
    page = results_page(files(found, "checkpoint"))
    assert merged in page
    assert "The Pareto front" in page


def test_what_was_compiled_is_stored_and_used(folder: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "openvino")
    monkeypatch.setattr(candidates, "reductions", lambda patches: [MergeTokens(r=1)])
    merged = "openvino, float32, merge_tokens r 1, schedule constant"
    raced(monkeypatch, {"openvino, float32": 1.5, merged: 3.0})
    found = optimize(folder, photos, options=OptimizeOptions(max_drop=100, limit=9))
    assert found.stored is not None
    if set(compiled_files(found.stored)) != {1, 32}:
        pytest.skip("this OpenVINO cannot write what it compiled")
    engine = make_predictor(vitrail.load(folder), engine="auto").engine
    batches = [torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8) for count in (1, 32, 20)]
    with monkeypatch.context() as patch:
        patch.setattr("vitrail.engines.openvino_graph.compiled_requests", None)
        outputs = [engine(batch) for batch in batches]
    for output, batch in zip(outputs, batches, strict=True):
        torch.testing.assert_close(output, engine(batch.float()), rtol=1e-4, atol=1e-5)


def test_tokens_that_cannot_be_reduced_are_said_once(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "torch")
    raced(monkeypatch, {"torch, float32": 1.5})
    model = vitrail.create_model(
        "swin_tiny_patch4_window7_224", image_size=32, window_size=4, embed_dim=8, depths=(1, 1), num_heads=(1, 2),
        num_classes=3,
    )  # fmt: skip
    vitrail.save(vitrail.Checkpoint(model, NAMES, vitrail.Preprocess(image_size=(32, 32))), tmp_path / "swin")
    found = optimize(tmp_path / "swin", photos, options=OptimizeOptions(max_drop=100, limit=9))
    assert not [one for one in found.outcomes if one.setting and one.setting.reduction]
    (note,) = [note for note in found.notes if "cannot be reduced" in note]
    assert note.startswith("not tried: merge_tokens, fuse_tokens, prune_tokens, as ")


@pytest.mark.exhaustive
def test_images_that_are_alike_measure_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "torch", "openvino")
    raced(monkeypatch, {"openvino, int8 and float32": 9.0, "openvino, float32": 1.5})
    (tmp_path / "black").mkdir()
    for number in range(5):
        Image.new("RGB", (30, 20)).save(tmp_path / "black" / f"{number}.jpg")
    found: Optimised = optimize(folder, tmp_path / "black")
    assert found.chosen is not None
    assert found.chosen.name == "openvino, float32"
    assert any("hardly differ" in note for note in found.notes)


def test_equal_images_count_once(folder: Path, photos: Path, tmp_path: Path) -> None:
    for number in range(5):
        Image.new("RGB", (30, 20)).save(tmp_path / f"{number}.jpg")
    for place in sorted(photos.glob("one/*"))[:2]:
        place.rename(tmp_path / place.name)
    images = read_test_images(vitrail.load(folder), str(tmp_path / "*.*"), 9, 0)
    assert images.note.startswith("3 images")
    assert len(images.samples) == 3


def test_a_checkpoint_in_memory_is_refused(folder: Path) -> None:
    made = vitrail.Checkpoint(vitrail.load(folder).model, NAMES, vitrail.Preprocess(image_size=(16, 16)))
    with pytest.raises(VitrailError, match="vitrail convert"):
        optimize(made)


def test_a_stored_choice_is_plain_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "torch")
    raced(monkeypatch, {"torch, float32": 1.25})
    stored = optimize(folder).stored
    assert stored is not None
    values = json.loads((stored / "choice.json").read_text())
    assert values["setting"] == {
        "engine": "torch",
        "precision": "float32",
        "int8": False,
        "dynamic": False,
        "streams": 1,
        "reduction": None,
    }
    assert values["speedup"] == 1.25


def test_engines_are_chosen_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raced(monkeypatch, {"torch, float32": 1.2})
    found = optimize(folder, options=OptimizeOptions(engines=("torch",)))
    assert {outcome.setting.engine for outcome in found.outcomes if outcome.setting} == {"torch"}
    assert "compiled" not in candidates.engines(torch.device("cpu"))  # it takes half a minute in every process
    assert candidates.engines(torch.device("cpu"), ["compiled"]) == ["compiled"]
    with pytest.raises(VitrailError, match="did you mean openvino"):
        optimize(folder, options=OptimizeOptions(engines=("openvin",)))


def test_a_search_without_time_keeps_an_earlier_choice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "torch")
    raced(monkeypatch, {"torch, float32": 1.2})
    optimize(folder)
    found = optimize(folder, options=OptimizeOptions(minutes=1e-9))
    assert (found.chosen, found.stored) == (None, None)
    assert stored_choice(vitrail.load(folder)) is not None


def test_of_few_patches_each_reduction_is_tried_once() -> None:
    found = candidates.reductions(4)
    assert len(found) == len(set(found))
