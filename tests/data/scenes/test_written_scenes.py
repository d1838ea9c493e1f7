"""Scenes as files, read back by a few lines for each format."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from vitrail.data.masks import mask_files
from vitrail.data.open import open_source
from vitrail.data.scenes import SceneOptions, SceneSet, captions, clip, numbers, picture, scene, write_scenes
from vitrail.data.scenes.__main__ import main
from vitrail.data.scenes.write import FORMS
from vitrail.errors import VitrailError

OPTIONS = SceneOptions(size=40, train=4, val=0, test=2)
SCENES = SceneSet(OPTIONS)
PLACES = [("train", 0), ("train", 3), ("test", 1)]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_coco(tmp_path: Path) -> None:
    assert write_scenes(tmp_path, "coco", OPTIONS) == 6
    assert not (tmp_path / "annotations" / "instances_val.json").exists()
    for split, index in PLACES:
        data = json.loads((tmp_path / "annotations" / f"instances_{split}.json").read_text())
        names = {row["id"]: row["name"] for row in data["categories"]}
        (image,) = [row for row in data["images"] if row["id"] == index]
        assert (pixels(tmp_path / split / image["file_name"]) == picture(SCENES, split, index)).all()
        rows = [row for row in data["annotations"] if row["image_id"] == index]
        found = scene(SCENES, split, index)
        assert len(rows) == len(found.objects)
        for number, (row, each) in enumerate(zip(rows, found.objects, strict=True), start=1):
            flat = [bit for i, count in enumerate(row["segmentation"]["counts"]) for bit in [i % 2] * count]
            mask = np.array(flat).reshape(40, 40).T  # columns after each other
            assert (mask == (found.instances == number)).all()
            assert names[row["category_id"]] == SCENES.class_names[each.thing.label]
            ys, xs = np.nonzero(mask)
            assert row["bbox"] == pytest.approx([xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1])
            assert (row["area"], row["iscrowd"]) == (mask.sum(), 0)
        assert len({row["id"] for row in data["annotations"]}) == len(data["annotations"])


def test_yolo(tmp_path: Path) -> None:
    write_scenes(tmp_path, "yolo", OPTIONS)
    facts = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert (facts["train"], facts["test"], "val" in facts) == ("images/train", "images/test", False)
    assert facts["names"] == dict(enumerate(SCENES.class_names))
    for split, index in PLACES:
        assert (pixels(tmp_path / f"images/{split}/{index:06d}.png") == picture(SCENES, split, index)).all()
        instances, lines = scene(SCENES, split, index).instances, (tmp_path / f"labels/{split}/{index:06d}.txt")
        for number, line in enumerate(lines.read_text().splitlines(), start=1):
            label, *place = line.split()
            ys, xs = np.nonzero(instances == number)
            sides = np.ptp(xs) + 1, np.ptp(ys) + 1
            expected = [xs.min() + sides[0] / 2, ys.min() + sides[1] / 2, *sides]
            assert [40 * float(value) for value in place] == pytest.approx(expected)
            assert scene(SCENES, split, index).classes()[ys[0], xs[0]] == int(label) + 1


def test_masks_and_depth(tmp_path: Path) -> None:
    write_scenes(tmp_path / "masks", "masks", OPTIONS)
    write_scenes(tmp_path / "depth", "depth", OPTIONS)
    names = (tmp_path / "masks/classes.txt").read_text().split()
    assert names == ["background", *SCENES.class_names]
    for split, index in PLACES:
        path = f"{split}/{index:06d}.png"
        with Image.open(tmp_path / "masks/masks" / path) as image:
            assert image.mode == "P"
            assert (np.asarray(image) == scene(SCENES, split, index).classes()).all()
            colours = np.reshape(image.getpalette() or [], (-1, 3))[: len(names)]
        assert len({tuple(colour) for colour in colours.tolist()}) == 13
        metres = pixels(tmp_path / "depth/depth" / path) / 1000
        assert metres == pytest.approx(scene(SCENES, split, index).depth(), abs=5.1e-4)
        for form in ("masks", "depth"):
            assert (pixels(tmp_path / form / "images" / path) == picture(SCENES, split, index)).all()


def test_tables(tmp_path: Path) -> None:
    write_scenes(tmp_path / "texts", "captions", OPTIONS)
    with (tmp_path / "texts/captions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    two = SceneSet(OPTIONS.for_captions())
    assert [row["split"] for row in rows] == ["train"] * 4 + ["test"] * 2
    assert rows[5]["caption"] == captions(two, "test", 1)[0]
    assert (pixels(tmp_path / "texts" / rows[5]["path"]) == picture(two, "test", 1)).all()

    write_scenes(tmp_path / "numbers", "numbers", OPTIONS)
    source = open_source(tmp_path / "numbers/numbers.csv")
    assert (source.task.name, source.class_names) == ("regression", ("x", "y", "size", "count"))
    assert source.samples[5].labels == pytest.approx(numbers(SCENES, "test", 1))
    assert source.samples[5].split == "test"


def test_classes_with_masks_of_the_object(tmp_path: Path) -> None:
    write_scenes(tmp_path, "classes", "size=40,train=40,val=0,test=9")
    source = open_source(tmp_path / "images")
    assert [sample.split for sample in source.samples].count("test") == 9
    masks = mask_files(tmp_path / "masks", source.samples)
    assert len(masks) == 49
    sample = next(sample for sample in source.samples if sample.name.endswith("000003.png") and sample.split == "train")
    found = scene(SCENES, "train", 3)
    assert source.class_names[sample.labels[0]] == SCENES.class_names[found.objects[0].thing.label]
    assert (pixels(masks[sample.name]) == 255 * (found.instances == 1)).all()


def test_clips(tmp_path: Path) -> None:
    write_scenes(tmp_path, "clips", "size=32,train=2,val=0,test=0,frames=4")
    scenes = SceneSet(SceneOptions(size=32, frames=4))
    (folder,) = (tmp_path / "train").glob("*/000001")
    frames = np.stack([pixels(path) for path in sorted(folder.iterdir())])
    assert (frames == clip(scenes, "train", 1)).all()


def test_mistakes_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(VitrailError, match="scenes cannot be written as 'voc'; did you mean coco"):
        write_scenes(tmp_path, "voc")
    (tmp_path / "file").touch()
    for folder in (tmp_path, tmp_path / "file"):
        with pytest.raises(VitrailError, match="is not empty: name a new folder"):
            write_scenes(folder, "coco", OPTIONS)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["depth", str(tmp_path / "made"), "size=32,train=1,val=0,test=0"]) == 0
    assert (tmp_path / "made/depth/train/000000.png").is_file()
    assert main(["coco", str(tmp_path / "other"), "size=1"]) == 1
    assert capsys.readouterr().err == "vitrail: scenes: size=1 is not allowed: use 32 to 1024\n"
    assert not (tmp_path / "other").exists()
    assert main(["coco"]) == 2
    assert main(["--help"]) == 0
    assert set(FORMS) >= {"classes", "coco", "yolo", "masks", "depth", "captions"}
