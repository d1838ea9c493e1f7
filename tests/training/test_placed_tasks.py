"""Tasks whose labels have places: trained, stopped and resumed, evaluated, predicted, through the same commands."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import vitrail
from vitrail.checkpoint.rename_classes import rename_classes
from vitrail.data.augment_options import Augment
from vitrail.data.open import open_source
from vitrail.data.samples import FileAt, Sample
from vitrail.errors import VitrailError
from vitrail.evaluation.saved_images import save_images
from vitrail.models.dense_vit import DenseViTConfig
from vitrail.task_spec import TaskSpec
from vitrail.tasks.detected_objects import DetectedObjects
from vitrail.tasks.detection import Detection, true_objects
from vitrail.tasks.object_errors import object_errors
from vitrail.tasks.placed import PlacedTask
from vitrail.tasks.registry import TASKS, resolve
from vitrail.tasks.task import Task
from vitrail.tasks.universal import Universal
from vitrail.training.loop import Trainer
from vitrail.training.recipe import Recipe

SOURCE = "scenes:size=32,train=24,val=6,test=5,objects=1-2,classes=3"
NAMES = [name for name in TASKS if isinstance(resolve(TaskSpec(name)), PlacedTask)]
TINY: dict[str, Any] = {"stem": [[4, 2], [8, 2], [16, 2]], "embed_dim": 16, "num_heads": 2, "depth": 1}
DECODERS: dict[str, Any] = {
    "detection": {"pyramid_dim": 8},
    "segmentation": {"dense_dim": 8},
    "depth": {"dense_dim": 8},
    "universal": {"dense_dim": 8, "pyramid_dim": 8},
}

RECIPE = Recipe(
    steps=4,
    batch_size=8,
    start_size=0.75,
    precision="float32",
    augment=Augment(crop="resized", color_jitter=0.2),
    save_minutes=1e-6,
)


def trained(name: str, out: Path, **changes: Any) -> vitrail.Run:
    recipe = replace(RECIPE, overrides={**TINY, **DECODERS[name]})
    return vitrail.train(SOURCE, replace(recipe, **changes), task=name, out=out)


@pytest.fixture(scope="module", params=NAMES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> vitrail.Run:
    return trained(request.param, tmp_path_factory.mktemp("runs") / request.param)


def task_and_names(run: vitrail.Run) -> tuple[Task, tuple[str, ...]]:
    checkpoint = run.checkpoint
    return resolve(checkpoint.task), checkpoint.class_names


def outcome(path: Path) -> dict[str, bytes]:
    names = ("checkpoints/last/model.safetensors", "checkpoints/last/trainer.safetensors", "metrics.jsonl")
    return {name: (path / name).read_bytes() for name in names}


def test_a_stopped_run_resumes_bit_for_bit(run: vitrail.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Trainer.step

    def stopped(self: Trainer, batches: Any) -> None:
        if self.counters.step == 2:
            raise KeyboardInterrupt
        step(self, batches)

    monkeypatch.setattr(Trainer, "step", stopped)
    with pytest.raises(KeyboardInterrupt):
        trained(run.path.name, tmp_path / "stopped")
    monkeypatch.setattr(Trainer, "step", step)
    assert outcome(run.path) == outcome(vitrail.resume(tmp_path / "stopped").path)


def test_the_command_for_evaluation_gives_the_numbers_of_the_run(run: vitrail.Run) -> None:
    stored = json.loads((run.path / "evaluation.json").read_text())
    found = vitrail.evaluate(run.path, SOURCE, precision="float32")
    assert found.count == stored["count"] == 5
    for name, value in found.headline().items():
        assert run.metrics[f"test_{name}"] == pytest.approx(value, rel=1e-5), name


def test_predictions_have_the_size_of_the_image_and_are_drawn(run: vitrail.Run, tmp_path: Path) -> None:
    Image.new("RGB", (50, 20), "red").save(tmp_path / "wide.png")
    (found,) = vitrail.predict(run.path, tmp_path / "wide.png")
    assert (found.path, found.error, found.size) == (str(tmp_path / "wide.png"), None, (20, 50))
    named = save_images(
        [found],
        [Sample("wide.png", (), None, FileAt(str(tmp_path / "wide.png")))],
        *task_and_names(run),
        tmp_path / "drawn",
    )
    assert list(named) == [found]
    drawn = sorted(path for path in (tmp_path / "drawn").iterdir() if path.suffix == ".png")
    assert drawn
    for path in drawn:
        with Image.open(path) as picture:
            assert picture.size == (50, 20)
    (again,) = vitrail.predict(run.path, [Image.new("RGB", (50, 20), "red")])
    assert again.size == (20, 50)


def test_the_report_shows_truth_and_prediction(run: vitrail.Run) -> None:
    page = (run.path / "report.html").read_text(encoding="utf-8")
    words = resolve(run.checkpoint.task).loss_words
    assert f"the validation loss is {words}." in page
    assert "Worst predictions" in page
    assert page.count("truth</small>") == page.count("prediction</small>") >= 5
    assert "<title>" in page
    assert "pipeline_tag: " in (run.path / "README.md").read_text(encoding="utf-8")


def test_augmentation_that_targets_cannot_follow_is_refused(tmp_path: Path) -> None:
    for augment, words in ((Augment(randaugment=2), "randaugment"), (Augment(flip_mode="alternate"), "flip_mode")):
        with pytest.raises(VitrailError, match=f"augment.{words}"):
            trained("segmentation", tmp_path / words, augment=augment)
        assert not (tmp_path / words).exists()


def test_another_source_is_matched_by_the_names_of_classes(tmp_path: Path) -> None:
    run = trained("segmentation", tmp_path / "run")
    with pytest.raises(VitrailError, match="which the checkpoint does not know"):
        vitrail.evaluate(run.path, SOURCE.replace("classes=3", "classes=6"))
    assert torch.isfinite(torch.tensor(vitrail.evaluate(run.path, SOURCE, split="all").loss))


def test_predictions_are_drawn_into_an_empty_folder_only(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("")
    with pytest.raises(VitrailError, match="is no empty folder"):
        save_images([], [], resolve(TaskSpec("depth")), (), tmp_path)
    with pytest.raises(VitrailError, match="leave --save-images out"):
        save_images([], [], resolve(TaskSpec("classification")), (), tmp_path / "new")


def test_views_that_are_mirrored_have_no_mean(run: vitrail.Run) -> None:
    with pytest.raises(VitrailError, match=f"{run.path.name} has no test-time augmentation: leave --tta out"):
        vitrail.evaluate(run.path, SOURCE, tta="flip")


def test_the_threshold_of_a_detector_is_fitted_to_the_validation_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against trying all thresholds on the predictions of the finished checkpoint."""
    monkeypatch.setattr("vitrail.tasks.shown_objects.FEWEST_OBJECTS", 1)
    source = SOURCE.replace("val=6", "val=8")
    recipe = replace(RECIPE, overrides={**TINY, **DECODERS["detection"]}, steps=12, evaluate_every=6)
    run = vitrail.train(source, recipe, task="detection", out=tmp_path / "run")
    task = resolve(run.checkpoint.task)
    assert isinstance(task, Detection)
    assert task.threshold is not None
    names = run.checkpoint.class_names
    samples = [one for one in open_source(source, task=TaskSpec("detection")).samples if one.split == "val"]
    every = list(vitrail.predict(run.path, source, split="val", threshold=0.0, precision="float32"))
    assert len(samples) == len(every) == 8

    def f1(threshold: float) -> float:
        right = errors = 0
        for sample, prediction in zip(samples, every, strict=True):
            shown = [one for one in prediction.objects if one.score >= threshold]
            found = DetectedObjects(
                torch.tensor([one.score for one in shown]),
                torch.tensor([names.index(one.name) for one in shown], dtype=torch.long),
                torch.tensor([(one.left, one.top, one.right, one.bottom) for one in shown]).reshape(-1, 4),
            )
            counted = object_errors(found, true_objects(sample))
            right, errors = right + counted.found, errors + counted.missed + counted.wrong
        return 2 * right / (2 * right + errors)

    scores = sorted({one.score for prediction in every for one in prediction.objects})
    assert f1(task.threshold) == max(f1(score) for score in scores)
    shown = list(vitrail.predict(run.path, source, split="val", precision="float32"))
    for all_of_it, part in zip(every, shown, strict=True):
        assert [one.score for one in part.objects] == [s.score for s in all_of_it.objects if s.score >= task.threshold]
    assert f"from a probability of {task.threshold:.3f} on" in (run.path / "report.html").read_text(encoding="utf-8")
    given = vitrail.train(
        source, replace(recipe, steps=1, evaluate_every=1), task="detection:threshold=0.25", out=tmp_path / "given"
    )
    assert given.checkpoint.task == TaskSpec.of("detection", threshold=0.25)
    again = vitrail.train(
        source, replace(RECIPE, steps=1, lr=1e-9), weights=run.path, task="detection", out=tmp_path / "b"
    )
    assert "threshold" in dict(again.checkpoint.task.options), "fitted anew"
    with pytest.raises(VitrailError, match=r"threshold 2.0 is not possible"):
        vitrail.predict(run.path, source, threshold=2.0)


@pytest.mark.exhaustive
def test_the_threshold_of_a_universal_model_is_fitted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitrail.tasks.shown_objects.FEWEST_OBJECTS", 1)
    source = SOURCE.replace("val=6", "val=8")
    recipe = replace(RECIPE, overrides={**TINY, **DECODERS["universal"]})
    run = vitrail.train(source, recipe, task="universal", out=tmp_path / "run")
    task = resolve(run.checkpoint.task)
    assert isinstance(task, Universal)
    assert task.threshold is not None
    assert task.parts["detection"] == Detection(threshold=task.threshold)
    prediction = next(vitrail.predict(run.path, source, split="val"))
    assert all(one.score >= task.threshold for one in prediction.predictions["detection"].objects)


PLAIN: dict[str, Any] = {"patch_size": 8, "embed_dim": 32, "depth": 4, "num_heads": 2}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> vitrail.Run:
    recipe = replace(RECIPE, model="vit_tiny_patch16_224", overrides=PLAIN, augment=None, start_size=None)
    return vitrail.train(SOURCE, recipe, out=tmp_path_factory.mktemp("vit") / "run")


@pytest.mark.exhaustive
@pytest.mark.parametrize(("task", "decoder"), [("segmentation", "linear"), ("depth", "dpt")])
def test_weights_of_a_vit_get_a_head_for_pixels(
    task: str, decoder: str, classifier: vitrail.Run, tmp_path: Path
) -> None:
    fields = {"decoder": decoder, "fusion_dim": 8} if decoder == "dpt" else {}
    start = replace(RECIPE, steps=1, lr=1e-9, overrides=fields, start_size=None, optimizer="adamw")
    begun = vitrail.train(SOURCE, start, task=task, weights=classifier.path, out=tmp_path / "begun").checkpoint
    assert isinstance(begun.config, DenseViTConfig)
    pixels = torch.randn(2, 3, 32, 32)
    tokens = begun.model.forward_features(pixels)
    last = tokens if decoder == "linear" else tokens[-1]
    expected = classifier.checkpoint.model.forward_features(pixels)
    torch.testing.assert_close(last.x, expected.x, rtol=1e-3, atol=1e-3)
    learned = replace(start, steps=18, lr=1e-2, evaluate_every=3)
    run = vitrail.train(SOURCE, learned, task=task, weights=classifier.path, out=tmp_path / "learned")
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert vitrail.load(run.path).config == run.checkpoint.config
    again = vitrail.train(SOURCE, start, task=task, weights=run.path, out=tmp_path / "again").checkpoint
    weights = run.checkpoint.model.state_dict()
    for name, tensor in again.model.state_dict().items():
        if tensor.is_floating_point() and "running" not in name:
            torch.testing.assert_close(tensor, weights[name], rtol=1e-3, atol=1e-4)


@pytest.mark.exhaustive
def test_a_segmenter_of_several_levels_is_trained_by_its_name(tmp_path: Path) -> None:
    overrides = {"embed_dims": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "decoder_dim": 8}
    recipe = replace(RECIPE, model="segformer_b0", overrides=overrides, steps=1, start_size=None)
    run = vitrail.train(SOURCE, recipe, task="segmentation", out=tmp_path / "run")
    assert run.checkpoint.config.image_size == (64, 64)


def test_a_resumed_run_keeps_the_new_names_of_each_task(tmp_path: Path) -> None:
    source = "scenes:train=24,val=12,test=12,size=32,classes=3"
    recipe = replace(RECIPE, overrides={**TINY, **DECODERS["universal"]})
    run = vitrail.train(source, recipe, task="universal", out=tmp_path / "run")
    rename_classes(run.path, {"circle": "Kreis"})
    vitrail.resume(run.path)
    found = vitrail.load(run.path)
    options = dict(found.task.options)
    assert found.class_names[0] == options["object_names"][0] == "Kreis"
    assert options["pixel_names"][:2] == ("background", "Kreis")


def test_a_library_that_is_missing_is_named_before_there_is_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(VitrailError, match=r"needs faster-coco-eval: run `pip install 'vitrail\[detection\]'`"):
        trained("detection", tmp_path / "run")
    assert not (tmp_path / "run").exists()
