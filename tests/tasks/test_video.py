"""Video from clips to predictions: train, resume, eval, predict, embed, explain; and what does not fit together."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import vitrail
from vitrail.cli.main import main
from vitrail.data.augment_options import Augment
from vitrail.errors import VitrailError
from vitrail.objectives.supervised import SupervisedConfig
from vitrail.task_spec import TaskSpec
from vitrail.tasks.registry import resolve
from vitrail.tasks.video import Video
from vitrail.training.loop import Trainer
from vitrail.training.recipe import Recipe

RECIPE = Recipe(
    task="video",
    overrides={"num_frames": 4, "stem": [16], "embed_dim": 32, "depth": 1, "num_heads": 2},
    image_size=16,
    epochs=None,
    steps=60,
    batch_size=16,
    start_size=1.0,
    precision="float32",
    augment=Augment(crop="shift", shift=0.0625, flip=0.0),
    objective=SupervisedConfig(mixup=0.1, cutmix=0.1, mix_rate=0.1),
    evaluate_every=10,
    save_minutes=1e-6,
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bars that move to the left or to the right, and start anywhere: one frame shows nothing of the class."""
    root, random = tmp_path_factory.mktemp("video") / "clips", np.random.default_rng(0)
    for label, sign in (("left", -1), ("right", 1)):
        for number in range(32):
            clip = random.integers(0, 60, (7, 16, 16, 3)).astype(np.uint8)
            start, colour = random.integers(16), random.integers(150, 255, 3)
            for time in range(7):
                clip[time, :, (start + sign * time + np.arange(5)) % 16] = colour
            if number % 2:
                (root / label).mkdir(parents=True, exist_ok=True)
                np.save(root / label / f"{number}.npy", clip)
            else:
                (root / label / str(number)).mkdir(parents=True)
                for time, frame in enumerate(clip):
                    Image.fromarray(frame).save(root / label / str(number) / f"{time}.png")
    return root


@pytest.fixture(scope="module")
def run(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> vitrail.Run:
    return vitrail.train(clips, RECIPE, out=tmp_path_factory.mktemp("runs") / "clips")


def outcome(path: Path) -> dict[str, bytes]:
    names = ("checkpoints/last/model.safetensors", "checkpoints/last/trainer.safetensors", "metrics.jsonl")
    return {name: (path / name).read_bytes() for name in names}


def test_the_direction_is_learned(run: vitrail.Run, clips: Path) -> None:
    assert vitrail.evaluate(run.path, clips, split="all").quality > 0.9
    stored = json.loads((run.path / "checkpoints/best/model.json").read_text())
    assert stored["config"]["task"]["name"] == "video"
    assert stored["preprocess"]["frames"] == 4
    assert run.checkpoint.config.frames == 4


def test_card_and_report(run: vitrail.Run) -> None:
    front = (run.path / "README.md").read_text(encoding="utf-8").split("---")[1]
    card = yaml.safe_load(front)
    assert card["pipeline_tag"] == "video-classification"
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "A batch as the model sees it" in page
    assert 'width="32" height="32"' in page  # four frames of 16×16 in two rows


def test_a_stopped_run_resumes_bit_for_bit(
    run: vitrail.Run, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer.step

    def stopped(self: Trainer, batches: Any) -> None:
        if self.counters.step == 13:
            raise KeyboardInterrupt
        step(self, batches)

    monkeypatch.setattr(Trainer, "step", stopped)
    with pytest.raises(KeyboardInterrupt):
        vitrail.train(clips, RECIPE, out=tmp_path / "stopped")
    monkeypatch.setattr(Trainer, "step", step)
    assert outcome(vitrail.resume(tmp_path / "stopped").path) == outcome(run.path)


def test_predictions_of_files_folders_and_arrays(run: vitrail.Run, clips: Path, capsys: pytest.CaptureFixture) -> None:
    found = {prediction.path: prediction for prediction in vitrail.predict(run.path, str(clips))}
    assert len(found) == 64
    assert all(prediction.error is None and prediction.size == (16, 16) for prediction in found.values())
    assert found[str(clips / "left/0")].label == ("left",)
    clip = np.load(clips / "left/1.npy")
    (alone,) = vitrail.predict(run.path, [clip])
    assert alone.classes[0][0] == found[str(clips / "left/1.npy")].classes[0][0]
    (tensor,) = vitrail.predict(run.path, [torch.from_numpy(clip).permute(0, 3, 1, 2)])
    assert tensor.classes == alone.classes
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(run.path), str(clips / "left/0"), str(clips / "right/1.npy")])
    assert ended.value.code in (0, None)
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_mirrored_clips_move_the_other_way(run: vitrail.Run, clips: Path) -> None:
    given = [np.load(path) for path in sorted((clips / "left").glob("*.npy"))]
    found = list(vitrail.predict(run.path, [clip[:, :, ::-1].copy() for clip in given]))
    assert np.mean([prediction.classes[0][0] == "right" for prediction in found]) > 0.8
    backwards = list(vitrail.predict(run.path, [clip[::-1].copy() for clip in given]))
    assert np.mean([prediction.classes[0][0] == "right" for prediction in backwards]) > 0.8
    both = list(vitrail.predict(run.path, given, tta="crops"))  # with mirror images, which say the opposite
    assert all(abs(dict(prediction.classes)["left"] - 0.5) < 0.45 for prediction in both)


def test_embeddings_and_pictures_of_attention(run: vitrail.Run, clips: Path, tmp_path: Path) -> None:
    assert vitrail.embed(run.path, str(clips / "left")).vectors.shape == (32, 32)
    paths = vitrail.explain(run.path, str(clips / "left/0"), tmp_path / "explained")
    assert [path.name for path in paths] == ["0.png", "explain.html"]
    page = paths[1].read_text(encoding="utf-8")
    assert '"frames":{"rows":1,"columns":2,"each":2}' in page
    maps = vitrail.attribute(run.path, str(clips / "left/0"), method="lrp")
    times, rows, columns = maps.shape[1:]
    assert times == 2
    assert f'"grid":[{rows},{2 * columns}]' in page, "the frames side by side"


def test_fine_tuning_takes_the_weights_of_clips(run: vitrail.Run, clips: Path, tmp_path: Path) -> None:
    short = replace(RECIPE, overrides={}, steps=1)
    tuned = vitrail.train(clips, short, weights=run.path, out=tmp_path / "tuned")
    assert tuned.checkpoint.preprocess.frames == 4
    weight = "embed.patches.layers.0.0.weight"
    first, second = (found.checkpoint.model.state_dict()[weight] for found in (run, tuned))
    torch.testing.assert_close(first, second, atol=0.05, rtol=0)


def test_images_and_clips_are_not_taken_for_each_other(run: vitrail.Run, clips: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    Image.new("RGB", (16, 16), "red").save(photo)
    (bad,) = vitrail.predict(run.path, str(photo))
    assert bad.error == "a single image, but a clip of several frames is needed"
    with pytest.raises(VitrailError, match="has clips, and vit_tiny_patch16_224 is a model for images"):
        vitrail.train(clips, replace(RECIPE, model="vit_tiny_patch16_224", overrides={}), out=tmp_path / "a")
    for label in ("a", "b"):
        for number in range(4):
            (tmp_path / "photos" / label).mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(number).integers(0, 255, (16, 16, 3), np.uint8)
            Image.fromarray(noise).save(tmp_path / "photos" / label / f"{number}.png")
    with pytest.raises(VitrailError, match=r"compact_video_small_64 is a model for clips, .* add --task video"):
        vitrail.train(tmp_path / "photos", Recipe(model="compact_video_small_64", steps=1), out=tmp_path / "b")
    with pytest.raises(VitrailError, match="images that belong to no clip"):
        vitrail.train(tmp_path / "photos", RECIPE, out=tmp_path / "c")


def test_clips_are_not_mirrored_by_default(clips: Path, tmp_path: Path) -> None:
    made = vitrail.train(clips, replace(RECIPE, augment=None, steps=1, objective=None), out=tmp_path / "run")
    assert vitrail.training.recipe_file.read_recipe(str(made.path)).augment.flip == 0


def test_the_task_and_its_options() -> None:
    task = resolve(TaskSpec.of("video", temperature=(2.0,)))
    assert isinstance(task, Video)
    assert task.spec == TaskSpec.of("video", temperature=(2.0,))
    assert task.describe(["run", "jump"]) == "the class of a clip, one of 2 classes: run, jump"
    with pytest.raises(VitrailError, match="clips have one class each"):
        resolve(TaskSpec.of("video", labels="many"))


def test_a_plan_has_the_frames(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["plan", "compact_video_small_64"])
    assert "8 frames of 3 × 64 × 64" in capsys.readouterr().out


def test_classifiers_of_clips_from_elsewhere_do_the_same_task(clips: Path) -> None:
    model = vitrail.create_model(
        "timesformer_base_patch16_224", image_size=16, patch_size=8, num_frames=4, embed_dim=32, depth=1, num_heads=2,
        num_classes=2,
    )  # fmt: skip
    checkpoint = vitrail.Checkpoint(model, ("left", "right"), vitrail.Preprocess(image_size=(16, 16), crop=1.0))
    assert checkpoint.task == TaskSpec("classification")
    assert checkpoint.preprocess.frames == 4
    assert vitrail.evaluate(checkpoint, clips).count == 64
    found = {prediction.path: prediction for prediction in vitrail.predict(checkpoint, str(clips))}
    assert found[str(clips / "left/0")].label == ("left",)
    assert all(prediction.error is None for prediction in found.values())
