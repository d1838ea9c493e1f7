"""Evaluation of a checkpoint on a source: classes by name, parts by content, bad files by name."""

import csv
import shutil
from dataclasses import replace

import pytest
import torch

from tests.evaluation.small_checkpoint import CLASSES, tiny_checkpoint, write_classes, write_image
from vitrail.checkpoint.contract import save
from vitrail.data.open import open_source, read_image
from vitrail.data.survey import survey
from vitrail.errors import VitrailError
from vitrail.evaluation.evaluate import evaluate
from vitrail.tasks.classification_report import class_summary


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRAIL_CACHE", str(tmp_path / "cache"))


def make_run(root, source, splits):
    """A run folder whose splits.csv gives each image of the source a part."""
    save(tiny_checkpoint(), root / "checkpoints" / "best")
    (root / "recipe.yaml").write_text("model: custom\n")
    found = survey(open_source(source))
    with open(root / "splits.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("name", "digest", "split", "label"))
        for sample, facts, split in zip(found.source.samples, found.facts, splits, strict=True):
            writer.writerow((sample.name, facts.digest, split, ""))
    return root


def test_accuracy_is_the_models_own_and_classes_match_by_name(tmp_path):
    # The source lacks "cat": its class 0 is the checkpoint's class 1.
    source = write_classes(tmp_path / "images", ("dog", "fox"))
    checkpoint = tiny_checkpoint()
    found = evaluate(checkpoint, source, batch_size=2)
    right = 0
    for sample in open_source(source).samples:
        with torch.inference_mode():
            logits = checkpoint.model(checkpoint.preprocess(read_image(sample, 3))[None])
        right += CLASSES[logits.argmax()] == sample.name.split("/")[0]
    assert found.count == 6
    assert found.top1 == pytest.approx(right / 6)
    assert [row.support for row in found.per_class] == [0, 3, 3]


def test_unknown_classes_are_named(tmp_path):
    source = write_classes(tmp_path / "images", ("dog", "owl", "yak"))
    with pytest.raises(VitrailError, match=r"lacks 2 classes of .*: owl, yak; it has cat, dog, fox"):
        evaluate(tiny_checkpoint(), source)


def test_the_sources_own_test_part_is_taken(tmp_path):
    write_classes(tmp_path / "images" / "train", each=2)
    for index, name in enumerate(CLASSES):
        write_image(tmp_path / "images" / "test" / name / "t.png", seed=900 + index)
    found = evaluate(tiny_checkpoint(), tmp_path / "images")
    assert found.count == 3
    assert found.note.startswith("3 images: the test part")
    assert evaluate(tiny_checkpoint(), tmp_path / "images", split="all").count == 9
    with pytest.raises(VitrailError, match="has no val part"):
        evaluate(tiny_checkpoint(), tmp_path / "images", split="val")


@pytest.mark.parametrize("place", ["", "checkpoints/best"])
def test_what_the_run_learned_from_is_left_out_by_content(tmp_path, place):
    source = write_classes(tmp_path / "images")
    run = make_run(tmp_path / "run", source, ["train", "train", "val"] * 3)
    shutil.copytree(source, tmp_path / "elsewhere")  # other names, the same content
    found = evaluate(run / place, tmp_path / "elsewhere")
    assert found.count == 3
    assert "without 6 that the run was trained on" in found.note
    assert evaluate(run / place, source, split="train").count == 6


def test_a_runs_test_part_is_what_is_scored(tmp_path):
    source = write_classes(tmp_path / "images")
    run = make_run(tmp_path / "run", source, ["train", "test", "val"] * 3)
    found = evaluate(run, source)
    assert found.count == 3
    assert "3 that the run was trained on and 3 that it chose its best checkpoint by" in found.note


def test_only_known_images_is_an_error(tmp_path):
    source = write_classes(tmp_path / "images")
    run = make_run(tmp_path / "run", source, ["train"] * 9)
    with pytest.raises(VitrailError, match=r"trained on every image.*--split all"):
        evaluate(run, source)
    assert evaluate(run, source, split="all").count == 9


def test_bad_files_stop_unless_skipped(tmp_path):
    source = write_classes(tmp_path / "images")
    (source / "cat" / "broken.png").write_bytes(b"\x89PNG")
    with pytest.raises(VitrailError, match=r"broken\.png"):
        evaluate(tiny_checkpoint(), source)
    assert evaluate(tiny_checkpoint(), source, skip_bad=True).count == 9


def test_several_labels(tmp_path):
    source = write_classes(tmp_path / "images")
    table = tmp_path / "labels.csv"
    rows = ["path,label", "images/cat/0.png,cat;dog", "images/cat/1.png,fox", "images/dog/0.png,dog"]
    table.write_text("\n".join(rows) + "\n")
    assert source.is_dir()
    found = evaluate(tiny_checkpoint(task="multi"), table)
    assert [row.support for row in found.per_class] == [1, 2, 1]
    assert found.mean_average_precision is not None
    with pytest.raises(VitrailError, match="several labels for each image"):
        evaluate(tiny_checkpoint(), table)


def test_the_summary_has_every_number(tmp_path):
    found = evaluate(tiny_checkpoint(), write_classes(tmp_path / "images"))
    text = class_summary(found)
    for word in ("top-1 accuracy", "calibration error", "precision", "confusion", "fox  "):
        assert word in text
    assert "3 a fox" in class_summary(
        replace(found, per_class=[replace(row, name=f"a {row.name}") for row in found.per_class])
    )
