"""The source `scenes`: labels for each task, locations and cut-outs."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from vitrail.data.decode import BadImage
from vitrail.data.open import open_source, read_bytes, read_image
from vitrail.data.scenes import SceneOptions, SceneSet, boxes, captions, numbers, picture, scene, scene_set
from vitrail.data.scenes.sprites import cutout_sprite
from vitrail.data.survey import survey
from vitrail.errors import VitrailError
from vitrail.task_spec import CLASSIFICATION, EMBEDDING, REGRESSION, TaskSpec

TEXT = "scenes:size=40,train=6,val=2,test=3"
SCENES = SceneSet(SceneOptions(size=40, train=6, val=2, test=3))


def opened(task: str | None, text: str = TEXT) -> Any:
    return open_source(text, task=None if task is None else TaskSpec.parse(task))


@pytest.fixture
def cutouts(tmp_path: Path) -> Path:
    """Three cut-outs, and files that are none: opaque, nearly transparent, no image."""
    folder = tmp_path / "cutouts"
    folder.mkdir()
    for name, colour in (("red10", "#e00000"), ("red9", "#d00000"), ("green", "#00c000")):
        image = Image.new("RGBA", (60, 60))
        ImageDraw.Draw(image).rectangle((10, 15, 49, 34), fill=colour)
        image.save(folder / f"{name}.png")
    Image.new("RGB", (20, 20)).save(folder / "opaque.png")
    Image.new("RGBA", (20, 20)).save(folder / "empty.png")
    (folder / "broken.png").write_bytes(b"\x89PNG")
    return folder


def test_splits_and_names() -> None:
    source = opened(None)
    assert [sample.split for sample in source.samples] == ["train"] * 6 + ["val"] * 2 + ["test"] * 3
    assert source.samples[7].name == "scenes/val/1"
    assert source.name == TEXT
    assert source.notes[0].startswith("task classification: the class of the nearest object")


@pytest.mark.parametrize("task", [None, "classification"])
def test_classes(task: str | None) -> None:
    source = opened(task)
    assert (source.label_kind, len(source.class_names)) == ("classes", 12)
    for index, sample in enumerate(source.samples[:6]):
        sizes = [(each.thing.size, each.thing.label) for each in scene(SCENES, "train", index).objects]
        assert sample.labels == (max(sizes)[1],)


def test_all_classes() -> None:
    for index, sample in enumerate(opened("classification:labels=many").samples[:6]):
        values = np.unique(scene(SCENES, "train", index).classes())
        assert sample.labels == tuple(int(value) - 1 for value in values if value)


def test_labels_of_other_tasks() -> None:
    by_task = {name: opened(name) for name in ("detection", "regression", "image-text", "segmentation", "depth")}
    two = SceneSet(SCENES.options.for_captions())
    for index in range(3):
        labels = {name: source.samples[8 + index].labels for name, source in by_task.items()}
        found = scene(SCENES, "test", index)
        assert labels["detection"] == boxes(SCENES, "test", index)
        assert labels["regression"] == numbers(SCENES, "test", index)
        assert labels["image-text"] == captions(two, "test", index)
        assert labels["segmentation"][0].read().equal(torch.from_numpy(found.classes()))
        assert labels["depth"][0].read().equal(torch.from_numpy(found.depth()))
        assert labels["segmentation"][0].read().dtype == torch.int16
    assert {name: source.label_kind for name, source in by_task.items()} == {
        "detection": "boxes",
        "regression": "numbers",
        "image-text": "texts",
        "segmentation": "maps",
        "depth": "maps",
    }
    assert by_task["segmentation"].class_names == ("background", *by_task["detection"].class_names)
    assert by_task["regression"].class_names == ("x", "y", "size", "count")
    assert {name for name, source in by_task.items() if source.samples[0].annotated_size == (40, 40)} == {
        "detection",
        "segmentation",
        "depth",
    }


def test_a_preferred_task_is_no_demand(tmp_path: Path) -> None:
    with_scale = TaskSpec.of("regression", scale=[1.0, 2.0])  # as in a checkpoint
    source = open_source(TEXT, prefer=with_scale)
    assert (source.label_kind, source.task) == ("numbers", REGRESSION)
    assert open_source(TEXT, task=CLASSIFICATION, prefer=with_scale).label_kind == "classes"
    for name in ("red", "green"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 4), name).save(tmp_path / name / "1.png")
    assert open_source(tmp_path, prefer=with_scale).label_kind == "classes"


def test_clips_are_arrays_of_frames() -> None:
    source = opened("video", "scenes:size=32,train=12,val=0,test=0,frames=5")
    assert sorted(sample.labels[0] for sample in source.samples) == list(range(12))
    assert source.class_names[4] == "zigzag right"
    head = read_bytes(source.samples[0])[:128].decode("latin-1")
    assert "'shape': (5, 32, 32, 3)" in head
    assert "|u1" in head


def test_images_are_the_drawn_ones() -> None:
    source = opened("detection")
    image = read_image(source.samples[8])
    assert image.equal(torch.from_numpy(picture(SCENES, "test", 0)).permute(2, 0, 1))


def test_without_labels() -> None:
    source = open_source(TEXT, labelled=False)
    assert {sample.labels for sample in source.samples} == {()}
    assert source.class_names == ()


def test_a_task_without_labels_is_named() -> None:
    with pytest.raises(VitrailError, match="scenes have no labels for task embedding; valid are classification, reg"):
        open_source(TEXT, task=EMBEDDING)


@pytest.mark.parametrize("task", ["segmentation", "depth", "video", "detection"])
def test_samples_travel_to_other_processes(task: str) -> None:
    sample = opened(task).samples[0]
    assert pickle.loads(pickle.dumps(sample)) == sample
    assert len(pickle.dumps(sample)) < 2000


def test_stamps_follow_what_is_drawn() -> None:
    def stamp(text: str, task: str | None = None) -> str:
        found: str = opened(task, f"scenes:val=0,test=0,{text}").samples[0].location.stamp()
        return found

    same = stamp("size=40")
    assert stamp("size=40,train=9,numbers=x") == same
    assert stamp("size=40", "detection") == same
    others = ["size=41", "size=40,seed=1", "size=40,turn=0", "size=40,classes=3", "size=40,objects=3"]
    assert len({same, stamp("size=40", "video"), *map(stamp, others)}) == 7
    stamps = [sample.location.stamp() for sample in opened(None).samples]
    assert len(set(stamps)) == len(stamps)


def test_a_survey_takes_them() -> None:
    found = survey(opened(None))
    assert (found.bad, found.median_size, found.channels, found.duplicates) == ((), (40, 40), 3, 0)


def test_cutouts_are_classes(cutouts: Path) -> None:
    source = opened("detection", f"scenes:size=64,objects=1,train=8,val=0,test=0,cutouts={cutouts}")
    assert source.class_names == ("green", "red9", "red10")
    for sample in source.samples[:8]:
        (box,) = sample.labels
        left, top, right, bottom = (round(64 * edge) for edge in (box.left, box.top, box.right, box.bottom))
        inside = read_image(sample)[:, top:bottom, left:right].float()
        red, green, _ = inside.median(dim=2).values.median(dim=1).values.tolist()
        assert (green > red) == (source.class_names[box.label] == "green")


def test_size_and_angle_of_a_cutout(cutouts: Path) -> None:
    first = scene_set(SceneOptions(cutouts=str(cutouts))).cutouts[0]
    for angle, sides in ((0, (30, 60)), (90, (60, 30)), (180, (30, 60))):
        alpha = cutout_sprite(first, 60, angle).alpha()  # without its transparent border: 40 × 20
        assert [np.ptp(place) + 1 for place in np.nonzero(alpha >= 0.5)] == pytest.approx(sides, abs=1)
        assert alpha.sum() == pytest.approx(1800, rel=0.02)
    turned = cutout_sprite(first, 60, 20).alpha()
    rows, columns = np.nonzero(turned >= 0.5)
    # Clockwise: the right end is lower.
    assert rows[columns > columns.mean()].mean() > rows[columns < columns.mean()].mean()
    assert turned.sum() == pytest.approx(1800, rel=0.02)


def test_names_of_cutouts_from_a_table(cutouts: Path) -> None:
    (cutouts / "captions.csv").write_text("file,name\nred9.png,nine\nred10.png,ten\nother.png,x\n")
    assert opened("detection", f"scenes:train=1,val=0,test=0,cutouts={cutouts}").class_names == ("green", "nine", "ten")
    (cutouts / "captions.csv").write_text("file,name\nred9.png,red\nred10.png,red\n")
    assert opened("detection", f"scenes:train=1,val=0,test=0,cutouts={cutouts}").class_names == (
        "green",
        "red9",
        "red10",
    )


def test_captions_of_cutouts(cutouts: Path) -> None:
    source = opened("image-text", f"scenes:train=99,val=0,test=0,cutouts={cutouts}")
    words = {word for sample in source.samples for word in sample.labels[0].split()}
    assert words >= {"a", "red9", "red10", "green", "left", "right", "of", "above", "below"}
    assert words <= {"a", "red9", "red10", "green", "left", "right", "of", "above", "below", "in", "front", "behind"}


def test_too_few_cutouts(cutouts: Path, tmp_path: Path) -> None:
    with pytest.raises(VitrailError, match="has 3 cut-outs, but 4 are needed: PNG or WebP images with transparency"):
        opened(None, f"scenes:classes=4,cutouts={cutouts}")
    with pytest.raises(VitrailError, match="has 0 cut-outs, but 2 are needed"):
        opened(None, f"scenes:cutouts={tmp_path}")


def test_a_changed_cutout_is_a_bad_image(cutouts: Path) -> None:
    source = opened("segmentation", f"scenes:size=33,objects=3,cutouts={cutouts}")
    os.utime(cutouts / "green.png", ns=(1, 1))
    with pytest.raises(BadImage, match="has changed since the scenes were opened"):
        read_image(source.samples[0])
    with pytest.raises(BadImage, match="has changed since the scenes were opened"):
        source.samples[0].labels[0].read()
    again = opened("segmentation", f"scenes:size=33,objects=3,cutouts={cutouts}")
    assert again.samples[0].location.stamp() != source.samples[0].location.stamp()
    read_image(again.samples[0])
