"""Judging methods on a folder of pictures with masks, through the function and the command."""

import csv
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageOps

from vitrail.checkpoint.contract import Checkpoint, load, save
from vitrail.cli.main import main
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.lens.attribution.methods import METHODS
from vitrail.models.registry import create_model
from vitrail.study.attribution import AttributionOptions, evaluate_explanations
from vitrail.task_spec import MULTI_LABEL


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures of each of two classes, the object a square in a corner."""
    root = tmp_path_factory.mktemp("scenes")
    for label, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        for number in range(3):
            picture, mask = Image.new("RGB", (32, 32), (90, 90, 90)), Image.new("L", (32, 32))
            place = (16 * (number % 2), 16 * (number // 2))
            picture.paste(Image.new("RGB", (16, 16), colour), place)
            mask.paste(Image.new("L", (16, 16), 255), place)
            for kind, image in (("pictures", picture), ("masks", mask)):
                path = root / kind / label / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                image.save(path)
    torch.manual_seed(0)
    fields = {"depth": 1, "embed_dim": 24, "num_heads": 2, "patch_size": 8, "num_classes": 2}
    model = create_model("vit_tiny_patch16_224", image_size=32, **fields)
    save(Checkpoint(model, ("blue", "red"), Preprocess(image_size=(32, 32), crop=1.0), {}), root / "model")
    return root


def test_scores_of_labelled_pictures_with_masks(scenes: Path) -> None:
    methods = {"attention": METHODS["attention"], "by hand": lambda model, pixels, classes: pixels.abs().mean(1)}
    pictures, masks = str(scenes / "pictures"), scenes / "masks"
    found = evaluate_explanations(
        load(str(scenes / "model")),
        pictures,
        methods,
        AttributionOptions(masks=masks, split="all", precision="float32"),
    )
    scores = {score.method: score for score in found.scores}
    assert list(scores) == ["attention", "by hand", "random", "centre", "object"]
    assert scores["by hand"].values["pointing"] == 1.0  # the object is what is not grey
    assert set(scores["attention"].values) == {
        "deletion", "insertion", "pointing", "touching", "overlap", "precision", "sanity",
    }  # fmt: skip
    assert "6 of 6" in found.note
    assert found.note.endswith("objects known in 6, of which they fill 25.0%")
    checkpoint, right = load(str(scenes / "model")), []
    for file in sorted((scenes / "pictures").rglob("*.png")):
        with Image.open(file) as image, torch.inference_mode():
            answer = int(checkpoint.model(checkpoint.preprocess(image)[None]).argmax())
        right.append(checkpoint.class_names[answer] == file.parent.name)
    assert found.top1 == pytest.approx(sum(right) / 6)


def test_pictures_without_a_mask_are_counted(scenes: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    shutil.copytree(scenes / "masks", masks)
    (masks / "red" / "0.png").unlink()
    Image.new("L", (32, 32)).save(masks / "red" / "1.png")
    checkpoint, pictures = load(str(scenes / "model")), str(scenes / "pictures")
    found = evaluate_explanations(checkpoint, pictures, {}, AttributionOptions(masks=masks, split="all"))
    assert "objects known in 4, of which they fill 25.0%; 1 without a mask; 1 with a black one" in found.note
    for file in masks.rglob("*.png"):
        Image.new("L", (32, 32)).save(file)
    with pytest.raises(VitrailError, match="no mask shows an object"):
        evaluate_explanations(checkpoint, pictures, {}, AttributionOptions(masks=masks, split="all"))
    for file in masks.rglob("*.png"):
        ImageOps.invert(Image.open(scenes / "masks" / file.relative_to(masks))).save(file)
    found = evaluate_explanations(checkpoint, pictures, {}, AttributionOptions(masks=masks, split="all"))
    assert "fill 75.0%; 1 without a mask; if that is too much, invert the masks" in found.note


def test_several_labels_a_picture_are_refused(scenes: Path) -> None:
    checkpoint = load(str(scenes / "model"), task=MULTI_LABEL)
    with pytest.raises(VitrailError, match="several labels for each image"):
        evaluate_explanations(
            checkpoint, str(scenes / "pictures"), {"attention": METHODS["attention"]}, AttributionOptions(split="all")
        )


def test_a_missing_mask_is_named(scenes: Path, tmp_path: Path) -> None:
    checkpoint, pictures = load(str(scenes / "model")), str(scenes / "pictures")
    with pytest.raises(VitrailError, match="no mask for"):
        evaluate_explanations(checkpoint, pictures, {}, AttributionOptions(masks=tmp_path, split="all"))
    with pytest.raises(VitrailError, match="is no folder"):
        evaluate_explanations(checkpoint, pictures, {}, AttributionOptions(masks=tmp_path / "none", split="all"))


def test_the_command_prints_a_table_and_writes_it(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["study", "attribution", str(scenes / "model"), str(scenes / "pictures"), "-o", str(tmp_path / "a.csv")]
    with pytest.raises(SystemExit) as stopped:
        main([*asked, "--methods", "attention", "lrp"])
    assert not stopped.value.code
    out = capsys.readouterr().out
    assert "random (baseline)" in out
    assert "pointing" not in out
    with (tmp_path / "a.csv").open(encoding="utf-8") as file:
        assert [row["method"] for row in csv.DictReader(file)] == ["attention", "lrp", "random", "centre"]


def test_a_method_that_does_not_apply_leaves_the_others(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = {"depths": (1, 1), "embed_dim": 16, "num_heads": (2, 2), "window_size": 4, "num_classes": 2}
    model = create_model("swin_tiny_patch4_window7_224", image_size=32, **fields)
    save(Checkpoint(model, ("blue", "red"), Preprocess(image_size=(32, 32), crop=1.0), {}), tmp_path / "swin")
    asked = ["study", "attribution", str(tmp_path / "swin"), str(scenes / "pictures"), "-o", str(tmp_path / "a.csv")]
    with pytest.raises(SystemExit) as stopped:
        main([*asked, "--masks", str(scenes / "masks"), "--methods", "rollout", "grad_cam"])
    assert not stopped.value.code
    printed = capsys.readouterr()
    assert any(line.startswith("vitrail: rollout: ") and "use grad_cam" in line for line in printed.err.splitlines())
    named = [line.split("  ")[0] for line in printed.out.splitlines()]
    assert {"grad_cam", "random (baseline)", "centre (baseline)", "object (reference)"} <= set(named)


def test_an_embedding_is_refused_with_a_way_out(scenes: Path) -> None:
    fields = {"depth": 1, "embed_dim": 24, "num_heads": 2, "patch_size": 8, "num_classes": 0}
    model = create_model("vit_tiny_patch16_224", image_size=32, **fields)
    checkpoint = Checkpoint(model, (), Preprocess(image_size=(32, 32), crop=1.0), {})
    with pytest.raises(VitrailError, match=r"predicts no classes.*vitrail explain"):
        evaluate_explanations(checkpoint, str(scenes / "pictures"), {}, AttributionOptions(split="all"))
