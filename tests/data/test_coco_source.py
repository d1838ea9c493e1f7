"""COCO JSON as people have it, and each thing that can be wrong with it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from drawn import covered, draw, pixels

from vitrail.data.annotations import Box
from vitrail.data.open import open_source
from vitrail.data.samples import Source
from vitrail.errors import VitrailError
from vitrail.task_spec import CLASSIFICATION, TaskSpec

SEGMENTATION, IMAGE_TEXT = TaskSpec("segmentation"), TaskSpec("image-text")
RECTANGLES = [(2, 1, 6, 5), (4, 3, 11, 8)]
CATEGORIES = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}, {"id": 90, "name": "owl"}]


def image(number: Any, name: str, width: int = 12, height: int = 8) -> dict[str, Any]:
    return {"id": number, "file_name": name, "width": width, "height": height}


def corners(left: float, top: float, right: float, bottom: float) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


def thing(number: int, of: Any, category: int, rectangle: tuple[int, int, int, int], **more: Any) -> dict[str, Any]:
    left, top, right, bottom = rectangle
    return {
        "id": number,
        "image_id": of,
        "category_id": category,
        "bbox": [left, top, right - left, bottom - top],
        "segmentation": [corners(*rectangle)],
        "iscrowd": 0,
        **more,
    }


def write(path: Path, images: list[Any], annotations: list[Any], categories: list[Any] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "images": images,
        "annotations": annotations,
        "categories": CATEGORIES if categories is None else categories,
    }
    path.write_text(json.dumps(content))
    return path


def small(root: Path) -> Path:
    """Two images, one of them without objects."""
    draw(root / "images/a.png", 12, 8, *RECTANGLES)
    draw(root / "images/b.png", 12, 8)
    things = [thing(1, 5, 7, RECTANGLES[0]), thing(2, 5, 3, RECTANGLES[1], iscrowd=1)]
    return write(root / "instances.json", [image(5, "a.png"), image("b", "b.png")], things)


def reasons(source: Source) -> dict[str, str]:
    return {bad.name: bad.reason for bad in source.bad}


def test_boxes_to_the_pixel(tmp_path: Path):
    small(tmp_path)
    source = open_source(tmp_path)
    assert (source.task.name, source.label_kind, source.bad) == ("detection", "boxes", ())
    assert source.class_names == ("dog", "cat", "owl")  # by ascending ids
    first, second = source.samples
    assert (first.name, first.annotated_size, second.labels) == (os.path.join("images", "a.png"), (8, 12), ())
    assert [box.label for box in first.labels] == [1, 0]
    assert [box.crowd for box in first.labels] == [False, True]
    assert [pixels(box, 12, 8) for box in first.labels] == RECTANGLES
    drawn = draw(tmp_path / "again.png", 12, 8, *RECTANGLES)
    assert (covered(first.labels[1], 12, 8).numpy() == (drawn == 2)).all()
    assert source.notes[0] == "task detection: boxes of the COCO JSON instances.json"


def test_regions_to_the_pixel(tmp_path: Path):
    small(tmp_path)
    source = open_source(tmp_path, task=SEGMENTATION)
    assert source.class_names == ("background", "dog", "cat", "owl")
    assert (source.task, source.label_kind) == (SEGMENTATION, "maps")
    found = source.samples[0].labels[0].read().numpy()
    drawn = draw(tmp_path / "again.png", 12, 8, RECTANGLES[1], RECTANGLES[0])  # the smaller in front
    assert (found == drawn).all()
    assert not source.samples[1].labels[0].read().any()


def test_a_category_called_background_is_the_background(tmp_path: Path):
    draw(tmp_path / "a.png", 12, 8)
    names = [{"id": 1, "name": "cat"}, {"id": 2, "name": "Background"}]
    write(tmp_path / "x.json", [image(1, "a.png")], [thing(1, 1, 1, RECTANGLES[0])], names)
    source = open_source(tmp_path, task=SEGMENTATION)
    assert source.class_names == ("Background", "cat")
    assert source.samples[0].labels[0].read().unique().tolist() == [0, 1]


@pytest.mark.parametrize("form", ["coco", "roboflow", "flat", "labels"])
def test_where_images_are(tmp_path: Path, form: str):
    """As COCO, Roboflow and FiftyOne lay them out; the same name in two splits is another image."""
    json_of, image_of = {
        "coco": ("annotations/instances_{}2017.json", "{}2017/a.png"),
        "roboflow": ("{}/_annotations.coco.json", "{}/a.png"),
        "flat": ("{}.json", "images/{}/a.png"),
        "labels": ("labels/{}.json", "data/{}/a.png"),
    }[form]
    for number, split in enumerate(["train", "val"]):
        draw(tmp_path / image_of.format(split), 12, 8, RECTANGLES[number])
        write(tmp_path / json_of.format(split), [image(1, "a.png")], [thing(1, 1, 7, RECTANGLES[number])])
    source = open_source(tmp_path)
    assert {(s.name, s.split, pixels(s.labels[0], 12, 8)) for s in source.samples} == {
        (image_of.format("train"), "train", RECTANGLES[0]),
        (image_of.format("val"), "val", RECTANGLES[1]),
    }
    alone = open_source(tmp_path / json_of.format("val"))
    assert [pixels(s.labels[0], 12, 8) for s in alone.samples] == [RECTANGLES[1]]


@pytest.mark.parametrize(
    "name", ["a.png", "images/a.png", r"images\a.png", r"C:\data\images\a.png", "/nowhere/images/a.png", "../up/a.png"]
)
def test_how_images_are_named(tmp_path: Path, name: str):
    draw(tmp_path / "images/a.png", 12, 8)
    write(tmp_path / "x.json", [image(1, name)], [])
    assert [s.name for s in open_source(tmp_path).samples] == [os.path.join("images", "a.png")]


def test_names_of_other_files(tmp_path: Path):
    for name in ("one/a.png", "two/a.png", "b.png"):
        draw(tmp_path / name, 12, 8)
    names = ["a.png", "gone.png", "three/b.png", "one/a.png", "b.png"]
    write(tmp_path / "x.json", [image(place, name) for place, name in enumerate(names)], [])
    source = open_source(tmp_path)
    assert [s.name for s in source.samples] == ["one/a.png", "b.png"]
    assert reasons(source) == {
        "a.png": "two images of this name: one/a.png and two/a.png",
        "gone.png": "no such image",
        "three/b.png": "no such image, only b.png",
    }
    assert "images that no JSON lists are not used: two/a.png" in source.notes


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "outside": ({"bbox": [20, 1, 3, 3]}, r"from \(20, 1\) to \(23, 4\) is outside an image of 12×8 pixels"),
    "sticks out": ({"bbox": [8, 1, 6, 3]}, r"from \(8, 1\) to \(14, 4\) sticks out"),
    "negative": ({"bbox": [-2, 1, 6, 3]}, "sticks out"),
    "no width": ({"bbox": [2, 1, 0, 3]}, "has no area"),
    "no height": ({"bbox": [2, 1, 3, -3]}, "has no area"),
    "nan": ({"bbox": [2, 1, float("nan"), 3]}, "not a finite number"),
    "infinite": ({"bbox": [2, 1, float("inf"), 3]}, "not a finite number"),
    "huge": ({"bbox": [2, 1, 10**400, 3]}, "not a finite number"),
    "text": ({"bbox": [2, 1, "wide", 3]}, "not a finite number"),
    "boolean": ({"bbox": [2, 1, True, 3]}, "not a finite number"),
    "three numbers": ({"bbox": [2, 1, 3]}, r"its bbox is \[2, 1, 3\], not \[left, top, width, height\]"),
    "no box": ({"bbox": None, "segmentation": []}, "its bbox is None"),
    "category": ({"category_id": 4}, "category 4 is not in categories"),
    "no category": ({"category_id": None}, "category None is not in categories"),
    "list of categories": ({"category_id": [3]}, r"category \[3\] is not in categories"),
}


@pytest.mark.parametrize(("change", "words"), WRONG.values(), ids=list(WRONG))
def test_wrong_boxes(tmp_path: Path, change: dict[str, Any], words: str):
    draw(tmp_path / "a.png", 12, 8)
    draw(tmp_path / "b.png", 12, 8)
    wrong = {**thing(17, 1, 7, RECTANGLES[0]), **change}
    write(tmp_path / "x.json", [image(1, "a.png"), image(2, "b.png")], [thing(16, 1, 7, RECTANGLES[0]), wrong])
    source = open_source(tmp_path)
    assert [s.name for s in source.samples] == ["b.png"]
    assert list(reasons(source)) == ["a.png"]
    with pytest.raises(AssertionError, match=rf"annotation 17: .*{words}.* \(x\.json\)"):
        raise AssertionError(reasons(source)["a.png"])


REGIONS: dict[str, tuple[Any, str]] = {
    "none": ([], r"its segmentation is \[\]: neither polygons"),
    "two corners": ([[1, 1, 5, 5]], "neither polygons of three corners"),
    "odd": ([[1, 1, 5, 5, 2, 7, 3]], "neither polygons"),
    "text": ([[1, 1, 5, 5, 2, "x"]], "neither polygons"),
    "flat": ([[1, 1, 5, 1, 3, 1]], "its polygon has no area"),
    "outside": ([corners(1, 1, 15, 5)], "its polygon from .* sticks out"),
    "counts": ({"size": [8, 12], "counts": [5, 5]}, "run lengths are of 10 pixels, the image has 96"),
    "size": ({"size": [12, 8], "counts": [90, 6]}, r"are for \[height, width\] \[12, 8\], the image is \[8, 12\]"),
    "no pixel": ({"size": [8, 12], "counts": [96]}, "its run lengths have no pixel"),
}


@pytest.mark.parametrize(("region", "words"), REGIONS.values(), ids=list(REGIONS))
def test_wrong_regions(tmp_path: Path, region: Any, words: str):
    draw(tmp_path / "a.png", 12, 8)
    draw(tmp_path / "b.png", 12, 8)
    wrong = thing(17, 1, 7, RECTANGLES[0], segmentation=region)
    write(tmp_path / "x.json", [image(1, "a.png"), image(2, "b.png")], [wrong])
    source = open_source(tmp_path, task=SEGMENTATION)
    with pytest.raises(AssertionError, match=rf"annotation 17: .*{words}"):
        raise AssertionError(reasons(source)["a.png"])


def test_boxes_are_clipped_by_a_pixel_and_made_of_polygons(tmp_path: Path):
    draw(tmp_path / "a.png", 12, 8)
    out = thing(1, 1, 7, (-1, 0, 13, 8))
    around = {key: value for key, value in thing(2, 1, 7, RECTANGLES[0]).items() if key != "bbox"}
    write(tmp_path / "x.json", [image(1, "a.png")], [out, around])
    boxes = open_source(tmp_path).samples[0].labels
    assert boxes[0] == Box(1, 0.0, 0.0, 1.0, 1.0)
    assert pixels(boxes[1], 12, 8) == RECTANGLES[0]


def test_images_and_ids_that_are_wrong(tmp_path: Path):
    for name in "abcde":
        draw(tmp_path / f"{name}.png", 12, 8)
    images = [image(1, "a.png"), image(1, "b.png"), image(3, "c.png"), image(4, "c.png"), image(None, "d.png")]
    images += [image(6, "e.png"), {"id": 9}, "text"]
    things = [thing(1, 99, 7, RECTANGLES[0]), thing(2, 99, 7, RECTANGLES[0]), "text"]
    write(tmp_path / "x.json", images, things)
    source = open_source(tmp_path)
    assert [s.name for s in source.samples] == ["e.png"]
    found = [(bad.name, bad.reason) for bad in source.bad]
    assert ("a.png", "its id 1 is that of b.png too") in found
    assert ("b.png", "its id 1 is that of a.png too") in found
    assert found.count(("c.png", "it is in the JSON twice")) == 2
    assert ("d.png", "its id in the JSON is None, which is neither a number nor text") in found
    assert ("image 7 of the JSON", "it has no file_name (x.json)") in found
    assert ("image 8 of the JSON", "it has no file_name (x.json)") in found
    assert ("annotation 3 of the JSON", "it is 'text', not an object (x.json)") in found
    assert ("annotation 1 and 1 more", "no image of the JSON has the id 99 (x.json)") in found


def test_ids_of_images_as_text_in_their_annotations(tmp_path: Path):
    draw(tmp_path / "a.png", 12, 8)
    write(tmp_path / "x.json", [image(1, "a.png")], [thing(1, "1", 7, RECTANGLES[0])])
    assert len(open_source(tmp_path).samples[0].labels) == 1


@pytest.mark.parametrize(("value", "crowd"), [("1", True), (1, True), ("0", False), (None, False)])
def test_crowds_as_tools_write_them(tmp_path: Path, value: object, crowd: bool):
    draw(tmp_path / "a.png", 12, 8)
    things = [thing(1, 1, 7, RECTANGLES[0]) | {"iscrowd": value}]
    write(tmp_path / "x.json", [image(1, "a.png")], things)
    assert open_source(tmp_path).samples[0].labels[0].crowd == crowd
    write(tmp_path / "x.json", [image(1, "a.png")], [things[0] | {"iscrowd": "yes"}])
    with pytest.raises(
        VitrailError, match=r"(?s)none of the 1 image .* can be used:.*its iscrowd is 'yes', not 0 or 1"
    ):
        open_source(tmp_path)


def test_sizes_that_are_not_stated_are_those_of_the_header(tmp_path: Path):
    draw(tmp_path / "a.png", 12, 8)
    write(tmp_path / "x.json", [{"id": 1, "file_name": "a.png"}], [thing(1, 1, 7, RECTANGLES[0])])
    sample = open_source(tmp_path).samples[0]
    assert (pixels(sample.labels[0], 12, 8), sample.annotated_size) == (RECTANGLES[0], (8, 12))
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(VitrailError, match=r"a\.png: neither x\.json nor its header states its width and height"):
        open_source(tmp_path)


def test_groups_of_categories_are_left_out(tmp_path: Path):
    """Roboflow writes a category for the group."""
    draw(tmp_path / "a.png", 12, 8)
    names = [{"id": 0, "name": "cells", "supercategory": "none"}, {"id": 1, "name": "red", "supercategory": "cells"}]
    write(tmp_path / "x.json", [image(1, "a.png")], [thing(1, 1, 1, RECTANGLES[0])], names)
    source = open_source(tmp_path)
    assert source.class_names == ("red",)
    assert "categories without an object that only group others are left out: cells" in source.notes


def test_the_same_images_in_two_files(tmp_path: Path):
    path = small(tmp_path)
    (tmp_path / "later.json").write_text(path.read_text())
    source = open_source(tmp_path)
    assert [len(s.labels) for s in source.samples] == [2, 0]
    assert "images that several JSON files list are used as in the first: images/a.png and 1 more" in source.notes


def test_ids_differ_between_files(tmp_path: Path):
    for split, number in (("train", 1), ("val", 2)):
        draw(tmp_path / split / "a.png", 12, 8)
        names = [{"id": number, "name": "cat"}, {"id": 3 - number, "name": "dog"}]
        write(tmp_path / split / "x.json", [image(1, "a.png")], [thing(1, 1, number, RECTANGLES[0])], names)
    source = open_source(tmp_path)
    assert [source.class_names[s.labels[0].label] for s in source.samples] == ["cat", "cat"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"images": [], "annotations": [\n{"bbox": }', r"is not valid JSON: .*line 2"),
        ('{"images": {}, "annotations": []}', "its 'images' is no list"),
        ('{"images": [], "annotations": 3}', "its 'annotations' is no list"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1}]}', "needs an id, and a name that is text"),
        ('{"images": [], "annotations": [], "categories": []}', "names no class"),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}',
            "two categories of .* have the id 1",
        ),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "A"}]}',
            "names the class 'a' twice",
        ),
        ('{"images": [], "annotations": ' + "[" * 100_000, "nested too deep|not valid JSON"),
        ("[]", "is no object with images"),
        ("", "not valid JSON"),
    ],
)
def test_files_that_are_no_coco_json(tmp_path: Path, content: str, words: str):
    (tmp_path / "x.json").write_text(content)
    draw(tmp_path / "a.png", 12, 8)
    with pytest.raises(VitrailError, match=words):
        open_source(tmp_path / "x.json")


def test_text_that_is_not_utf8(tmp_path: Path):
    data = small(tmp_path).read_bytes().replace(b'"owl"', b'"\xe9"').replace(b", ", b",\n")
    (tmp_path / "instances.json").write_bytes(data)
    line = data[: data.index(b"\xe9")].count(b"\n") + 1
    with pytest.raises(VitrailError, match=f"line {line} is not UTF-8 text"):
        open_source(tmp_path)


def test_other_tasks_do_not_read_it(tmp_path: Path):
    for name in ("cat/1.png", "dog/1.png"):
        draw(tmp_path / name, 12, 8)
    write(tmp_path / "x.json", [image(1, "cat/1.png")], [thing(1, 1, 7, RECTANGLES[0])])
    assert open_source(tmp_path, task=CLASSIFICATION).class_names == ("cat", "dog")
    assert open_source(tmp_path).task.name == "detection"
    (tmp_path / "x.json").write_text("{}")
    assert open_source(tmp_path).class_names == ("cat", "dog")
    with pytest.raises(VitrailError, match="has no annotations for --task detection: give it a COCO JSON"):
        open_source(tmp_path, task=TaskSpec("detection"))
    with pytest.raises(VitrailError, match="has boxes, and --task classification needs classes"):
        open_source(small(tmp_path / "other"), task=CLASSIFICATION)


def test_without_labels(tmp_path: Path):
    wrong = thing(1, 1, 44, RECTANGLES[0])
    draw(tmp_path / "a.png", 12, 8)
    path = write(tmp_path / "x.json", [image(1, "a.png")], [wrong])
    source = open_source(path, labelled=False)
    assert [(s.name, s.labels) for s in source.samples] == [("a.png", ())]
    assert (source.label_kind, source.class_names) == ("classes", ())


def test_captions(tmp_path: Path):
    for name in "ab":
        draw(tmp_path / f"val2017/{name}.png", 12, 8)
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}]
    texts = [(1, "a  cat\non a mat"), (1, "A cat."), (2, "  ")]
    captions = [{"id": 10 + i, "image_id": of, "caption": text} for i, (of, text) in enumerate(texts)]
    path = write(tmp_path / "annotations/captions_val2017.json", images, captions, [])
    source = open_source(path)
    assert (source.task, source.label_kind) == (IMAGE_TEXT, "texts")
    assert [(s.name, s.labels, s.split) for s in source.samples] == [
        ("val2017/a.png", ("a cat on a mat", "A cat."), "val")
    ]
    assert reasons(source) == {"val2017/b.png": "annotation 12: its caption is empty (captions_val2017.json)"}
    # Objects beside captions are read unless captions are asked for.
    write(tmp_path / "annotations/instances_val2017.json", [image(1, "a.png")], [thing(1, 1, 7, RECTANGLES[0])])
    assert open_source(tmp_path).label_kind == "boxes"
    assert open_source(tmp_path, task=IMAGE_TEXT).samples[0].labels == ("a cat on a mat", "A cat.")


def test_a_damaged_file_of_a_split_is_no_missing_split(tmp_path: Path):
    for part in ("train", "val"):
        draw(tmp_path / part / f"{part}.png", 12, 8, RECTANGLES[0])
        things = [thing(1, 5, 7, RECTANGLES[0])]
        write(tmp_path / f"annotations/instances_{part}.json", [image(5, f"{part}.png")], things)
    val = tmp_path / "annotations/instances_val.json"
    content = val.read_text()
    for damaged in ("", content[:40]):
        val.write_text(damaged)
        with pytest.raises(VitrailError, match=r"instances_val.json cannot be read: it is not valid JSON"):
            open_source(tmp_path)
    val.write_text(content, encoding="utf-16")
    assert {sample.split for sample in open_source(tmp_path).samples} == {"train", "val"}
    val.write_text(json.dumps({"images": []}))  # test images without labels
    assert {sample.split for sample in open_source(tmp_path).samples} == {"train"}
    (tmp_path / "annotations/instances_train.json").write_text("{")
    with pytest.raises(VitrailError, match=r"instances_train.json cannot be read"):
        open_source(tmp_path)


def test_for_a_classifier_class_folders_win_over_annotations(tmp_path: Path):
    small(tmp_path)
    for name in ("cat", "dog"):
        draw(tmp_path / name / "a.png", 12, 8)
    assert open_source(tmp_path, prefer=CLASSIFICATION).class_names == ("cat", "dog", "images")
    assert open_source(tmp_path).task.name == "detection"
