"""YOLO's texts with and without a data.yaml, and each thing that can be wrong with them."""

import os
from pathlib import Path

import pytest
from drawn import Rectangle, draw, pixels

from vitrail.data.open import open_source
from vitrail.data.samples import Source
from vitrail.errors import VitrailError
from vitrail.task_spec import TaskSpec

SEGMENTATION = TaskSpec("segmentation")
RECTANGLES = [(2, 1, 6, 5), (4, 3, 11, 8)]
WIDTH, HEIGHT = 12, 8


def box_line(label: int, rectangle: Rectangle) -> str:
    left, top, right, bottom = rectangle
    numbers = ((left + right) / 2 / WIDTH, (top + bottom) / 2 / HEIGHT, (right - left) / WIDTH, (bottom - top) / HEIGHT)
    return f"{label} " + " ".join(f"{number:.6f}" for number in numbers)


def polygon_line(label: int, rectangle: Rectangle) -> str:
    left, top, right, bottom = rectangle
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return f"{label} " + " ".join(f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in corners)


def sample(root: Path, image: str, text: str | None) -> None:
    """An image and its text in `labels` in place of `images`, or beside it."""
    draw(root / image, WIDTH, HEIGHT, *RECTANGLES)
    if text is not None:
        path = root / Path(image.replace("images", "labels")).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


BOXES = f"{box_line(1, RECTANGLES[0])}\n\n{box_line(0, RECTANGLES[1])}\n"


def reasons(source: Source) -> dict[str, str]:
    return {bad.name: bad.reason for bad in source.bad}


@pytest.mark.parametrize("text", [BOXES, f"{polygon_line(1, RECTANGLES[0])}\r\n{polygon_line(0, RECTANGLES[1])}"])
def test_boxes_and_hulls_of_polygons_to_the_pixel(tmp_path: Path, text: str):
    sample(tmp_path, "images/a.png", text)
    sample(tmp_path, "images/b.png", "")
    sample(tmp_path, "images/c.png", None)
    source = open_source(tmp_path)
    assert (source.task.name, source.label_kind, source.class_names, source.bad) == (
        "detection",
        "boxes",
        ("0", "1"),
        (),
    )
    first, second, third = source.samples
    assert [box.label for box in first.labels] == [1, 0]
    found = [pixels(box, WIDTH, HEIGHT) for box in first.labels]
    assert [tuple(map(round, box)) for box in found] == RECTANGLES
    assert all(
        abs(a - b) < 1e-4 for box, ours in zip(found, RECTANGLES, strict=True) for a, b in zip(box, ours, strict=True)
    )
    assert (second.labels, third.labels) == ((), ())
    assert f"1 image has no text, so no object, such as {os.path.join('images', 'c.png')}" in source.notes


def test_polygons_as_maps_to_the_pixel(tmp_path: Path):
    sample(tmp_path, "images/a.png", f"{polygon_line(1, RECTANGLES[0])}\n{polygon_line(0, RECTANGLES[1])}")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    source = open_source(tmp_path, task=SEGMENTATION)
    assert source.class_names == ("background", "cat", "dog")
    drawn = draw(tmp_path / "again.png", WIDTH, HEIGHT, RECTANGLES[1], RECTANGLES[0])
    assert (source.samples[0].labels[0].read().numpy() == drawn).all()
    assert (source.samples[0].labels[0].sized(HEIGHT, WIDTH).read().numpy() == drawn).all()


LAYOUTS = {
    "ultralytics": ("images/{}/a.png", "images/train", "images/val"),
    "roboflow": ("{}/images/a.png", "../train/images", "../val/images"),
    "path": ("images/{}/a.png", "images/train/", "./images/val"),
    "list": ("images/{}/a.png", "[images/train]", "[images/val]"),
    "texts": ("images/{}/a.png", "train.txt", "val.txt"),
    "moved": ("images/{}/a.png", "/kaggle/input/set/images/train", r"D:\set\images\val"),
}


@pytest.mark.parametrize("form", list(LAYOUTS))
@pytest.mark.parametrize("names", ["[cat, 2]", "{0: cat, 1: '2'}"])
def test_data_yaml(tmp_path: Path, form: str, names: str):
    place, train, val = LAYOUTS[form]
    for number, split in enumerate(["train", "val"]):
        sample(tmp_path, place.format(split), box_line(number, RECTANGLES[number]))
        (tmp_path / f"{split}.txt").write_text(f"./{place.format(split)}\n")
    base = "path: ../datasets/gone\n" if form == "path" else ""
    (tmp_path / "data.yaml").write_text(f"{base}train: {train}\nval: {val}\ntest:\nnc: 2\nnames: {names}\n")
    for spec in (tmp_path, tmp_path / "data.yaml"):
        source = open_source(spec)
        assert source.class_names == ("cat", "2")
        assert [(s.name, s.split, s.labels[0].label) for s in source.samples] == [
            (place.format("train"), "train", 0),
            (place.format("val"), "val", 1),
        ]


def test_validation_on_the_training_images(tmp_path: Path):
    sample(tmp_path, "images/a.png", BOXES)
    (tmp_path / "coco8.yaml").write_text("train: images\nval: images\nnames: [a, b]\nnc: 3\ntest: nowhere")
    source = open_source(tmp_path)
    assert [s.split for s in source.samples] == ["train"]
    assert "1 image of val is in another split of coco8.yaml too, and is used there only" in source.notes
    assert "nc is 3, but names has 2: nc is not used" in source.notes
    assert "test of coco8.yaml is nowhere, which does not exist" in source.notes


@pytest.mark.parametrize("place", ["images/train/a.png", "train/images/a.png", "a.png", "train/a.png"])
def test_without_a_data_yaml(tmp_path: Path, place: str):
    sample(tmp_path, place, BOXES)
    (tmp_path / "classes.txt").write_text("\ufeffcat\ndog\nowl\n", encoding="utf-8")
    source = open_source(tmp_path)
    assert [(s.name, len(s.labels)) for s in source.samples] == [(place, 2)]
    assert source.class_names == ("cat", "dog", "owl")
    assert source.samples[0].split == ("train" if "train" in place else None)
    assert "class names from classes.txt" in source.notes


GOOD = box_line(0, RECTANGLES[0])
WRONG = {
    "four numbers": ("0 0.5 0.5 0.1", "line 2: 4 numbers, where a box has 5"),
    "six numbers": ("0 0.5 0.5 0.1 0.1 0.9", "line 2: 6 numbers"),
    "text": ("0 0.5 0.5 wide 0.1", "line 2: 'wide' is not a number"),
    "nan": ("0 0.5 nan 0.1 0.1", "line 2: nan is not a finite number"),
    "infinite": ("0 0.5 1e999 0.1 0.1", "line 2: inf is not a finite number"),
    "class": ("2 0.5 0.5 0.1 0.1", "line 2: class 2 is not one of 0 to 1"),
    "negative class": ("-1 0.5 0.5 0.1 0.1", "line 2: class -1 is not"),
    "fraction of a class": ("0.5 0.5 0.5 0.1 0.1", "line 2: class 0.5 is not"),
    "no area": ("0 0.5 0.5 0 0.1", "line 2: the box .* has no area"),
    "negative": ("0 0.5 0.5 0.1 -0.1", "line 2: the box .* has no area"),
    "in pixels": ("0 50 50 10 10", "line 2: the box .* is outside the image, whose sides are 1"),
    "sticks out": ("0 0.9 0.5 0.4 0.1", "line 2: the box .* sticks out of the image"),
    "flat polygon": ("0 0.1 0.1 0.5 0.1 0.3 0.1", "line 2: the box .* has no area"),
}


@pytest.mark.parametrize(("line", "words"), WRONG.values(), ids=list(WRONG))
def test_wrong_lines(tmp_path: Path, line: str, words: str):
    sample(tmp_path, "images/a.png", f"{GOOD}\n{line}\n")
    sample(tmp_path, "images/b.png", GOOD)
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    source = open_source(tmp_path)
    assert [s.name for s in source.samples] == ["images/b.png"]
    with pytest.raises(AssertionError, match=rf"{words}.* \(labels/a\.txt\)"):
        raise AssertionError(reasons(source)["images/a.png"])


def test_boxes_where_segmentation_needs_polygons(tmp_path: Path):
    sample(tmp_path, "images/a.png", GOOD)
    sample(tmp_path, "images/b.png", polygon_line(0, RECTANGLES[0]))
    source = open_source(tmp_path, task=SEGMENTATION)
    assert reasons(source) == {"images/a.png": "line 1: a box, where segmentation needs a polygon (labels/a.txt)"}


def test_files_that_are_wrong(tmp_path: Path):
    sample(tmp_path, "images/a.png", GOOD)
    sample(tmp_path, "images/b.png", "")
    (tmp_path / "labels/b.txt").write_bytes(b"0 0.5\n\xff\xfe0 0.5")
    (tmp_path / "labels/gone.txt").write_text(GOOD)
    (tmp_path / "train.txt").write_text("images/a.png\nimages/b.png\nimages/nowhere.png\n")
    (tmp_path / "data.yaml").write_text("train: train.txt\nnames: [cat]")
    source = open_source(tmp_path)
    assert [s.name for s in source.samples] == ["images/a.png"]
    assert reasons(source) == {
        "images/b.png": "line 2 is not UTF-8 text (labels/b.txt)",
        "images/nowhere.png": "no such image",
        "labels/gone.txt": "no image of this name",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: images\nnames: [cat\n", r"data\.yaml cannot be read: it is not valid YAML: .*line"),
        ("train: images\nnames: 5", "the names in .* are 5: write a list"),
        ("train: images\nnames: {0: a, 2: b}", "the names in"),
        ("train: images\nnames: []", "names no class"),
        ("train: images\nnames: [a, A]", "names the class 'a' twice"),
        ("train: nowhere\nnames: [a]", "names no image that exists"),
        ("train: &x [images]\nval: *x\nnames: [a]", "alias"),
    ],
)
def test_data_yaml_that_is_wrong(tmp_path: Path, text: str, words: str):
    sample(tmp_path, "images/a.png", GOOD)
    (tmp_path / "data.yaml").write_text(text)
    for spec in (tmp_path, tmp_path / "data.yaml"):
        with pytest.raises(VitrailError, match=words):
            open_source(spec)


def test_keypoints_are_not_used(tmp_path: Path):
    sample(tmp_path, "images/a.png", f"{GOOD} 0.5 0.5 2 0.1 0.2 1")
    (tmp_path / "data.yaml").write_text("train: images\nnames: [cat]\nkpt_shape: [2, 3]")
    assert [round(edge) for edge in pixels(open_source(tmp_path).samples[0].labels[0], WIDTH, HEIGHT)] == [2, 1, 6, 5]


def test_no_text_at_all(tmp_path: Path):
    draw(tmp_path / "images/a.png", WIDTH, HEIGHT)
    (tmp_path / "data.yaml").write_text("train: images\nnames: [cat]")
    with pytest.raises(
        VitrailError, match=r"none of the 1 image of .* has a text of labels: put labels/ beside images/"
    ):
        open_source(tmp_path)
    assert len(open_source(tmp_path, labelled=False).samples) == 1


def test_texts_of_class_folders_are_no_labels(tmp_path: Path):
    for name in ("cat/1.png", "dog/1.png"):
        draw(tmp_path / name, WIDTH, HEIGHT)
    (tmp_path / "cat/1.txt").write_text("a cat on a mat that looks")
    assert open_source(tmp_path).task.name == "classification"


def test_texts_whose_suffix_is_in_capitals(tmp_path: Path):
    sample(tmp_path, "images/a.png", BOXES)
    (tmp_path / "labels/a.txt").rename(tmp_path / "labels/a.TXT")
    sample(tmp_path, "images/b.png", BOXES)
    assert [len(one.labels) for one in open_source(tmp_path).samples] == [2, 2]
