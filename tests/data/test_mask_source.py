"""Folders of masks: indices, palettes, black and white, colours; and each thing that can be wrong with them."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from drawn import draw
from PIL import Image

from vitrail.data.annotation_sizes import fit_annotations
from vitrail.data.annotations import IGNORED
from vitrail.data.open import open_source
from vitrail.data.samples import Source
from vitrail.data.survey import survey
from vitrail.errors import VitrailError
from vitrail.task_spec import CLASSIFICATION, TaskSpec

INDEX = np.array([[0, 0, 1, 2], [0, 2, 2, 255], [1, 1, 0, 255]], dtype=np.uint8)

SEGMENTATION = TaskSpec("segmentation")


def save(path: Path, array: np.ndarray, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette:
        image.putpalette([value * 37 % 256 for value in range(768)])
    image.save(path)


def pair(root: Path, stem: str, mask: np.ndarray | None, folder: str = "masks", **more: bool) -> None:
    draw(root / f"images/{stem}.png", 4, 3, (1, 1, 3, 2))
    if mask is not None:
        save(root / f"{folder}/{stem}.png", mask, **more)


def reasons(source: Source) -> dict[str, str]:
    return {bad.name: bad.reason for bad in source.bad}


def read(source: Source, place: int = 0) -> list[list[int]]:
    return source.samples[place].labels[0].read().tolist()


EXPECTED = np.where(INDEX == 255, IGNORED, INDEX.astype(int)).tolist()


@pytest.mark.parametrize("palette", [False, True])
@pytest.mark.parametrize("folder", ["masks", "labels", "SegmentationClass", "ann", "annotations"])
def test_index_and_palette_to_the_pixel(tmp_path: Path, palette: bool, folder: str):
    pair(tmp_path, "a", INDEX, folder, palette=palette)
    pair(tmp_path, "b", np.minimum(INDEX, 1), folder, palette=palette)
    source = open_source(tmp_path)
    assert (source.task.name, source.label_kind, source.bad) == ("segmentation", "maps", ())
    assert source.class_names == ("0", "1", "2")
    assert [(s.name, s.annotated_size) for s in source.samples] == [("images/a.png", (3, 4)), ("images/b.png", (3, 4))]
    assert read(source) == EXPECTED
    assert source.notes[0] == f"task segmentation: masks in {folder}"
    assert "pixels with the value 255 are ignored" in source.notes


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("images/{0}/a.jpg", "annotations/{0}/a.png"),
        ("{0}/images/a.jpg", "{0}/masks/a.png"),
        ("{0}/img/a.jpg", "{0}/ann/a_mask.png"),
        ("leftImg8bit/{0}/x/a_leftImg8bit.png", "gtFine/{0}/x/a_gtFine_labelIds.png"),
    ],
)
def test_layouts(tmp_path: Path, images: str, masks: str):
    for split in ("train", "val"):
        draw(tmp_path / images.format(split), 4, 3)
        save(tmp_path / masks.format(split), INDEX)
    source = open_source(tmp_path)
    assert [(s.name, s.split) for s in source.samples] == [(images.format(s), s) for s in ("train", "val")]
    assert (read(source, 1), source.bad) == (EXPECTED, ())
    assert [s.name for s in open_source(tmp_path, labelled=False).samples] == [s.name for s in source.samples]


def test_lists_of_splits(tmp_path: Path):
    for stem in "abc":
        draw(tmp_path / f"JPEGImages/{stem}.png", 4, 3)
        save(tmp_path / f"SegmentationObject/{stem}.png", INDEX)
    for stem in "ab":
        save(tmp_path / f"SegmentationClass/{stem}.png", INDEX)
    lists = tmp_path / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    (lists / "val.txt").write_text("b\nx\n")
    source = open_source(tmp_path)
    assert [(s.name, s.split) for s in source.samples] == [("JPEGImages/a.png", "train"), ("JPEGImages/b.png", "val")]
    assert source.bad == ()
    assert "1 of 3 names in ImageSets/Segmentation have no file: x" in source.notes


LISTS = {
    "classes.txt": "sky\nroad\ncar\n",
    "labels.csv": "id,name\n0,sky\n1,road\n2,car\n",
    "class_names.json": '["sky", "road", "car"]',
    "id2label.json": '{"0": "sky", "1": "road", "2": "car"}',
    "classes.json": '{"sky": 0, "road": 1, "car": 2}',
    "data.yaml": "names:\n  0: sky\n  1: road\n  2: car\n",
}


@pytest.mark.parametrize("name", list(LISTS))
def test_lists_of_classes(tmp_path: Path, name: str):
    pair(tmp_path, "a", INDEX)
    (tmp_path / name).write_text(LISTS[name])
    source = open_source(tmp_path)
    assert source.class_names == ("sky", "road", "car")
    assert f"class names from {name}" in source.notes
    assert read(source) == EXPECTED


def test_numbers_with_gaps_and_classes_that_are_none(tmp_path: Path):
    pair(tmp_path, "a", np.where(INDEX == 255, 50, INDEX * np.uint8(10)))
    (tmp_path / "config.yaml").write_text("classes: {0: Unlabeled, 10: road, 20: car, 50: sky}")
    source = open_source(tmp_path)
    assert source.class_names == ("road", "car", "sky")
    assert read(source) == [[-1, -1, 0, 1], [-1, 1, 1, 2], [0, 0, -1, 2]]
    assert "pixels of Unlabeled are ignored" in source.notes


def test_a_background_that_is_not_listed(tmp_path: Path):
    pair(tmp_path, "a", INDEX)
    pair(tmp_path, "b", INDEX)
    (tmp_path / "classes.txt").write_text("road\ncar\n")
    source = open_source(tmp_path)
    assert (source.class_names, read(source)) == (("background", "road", "car"), EXPECTED)
    assert "2 masks have the value 2: the first of 2 classes is 1, and 0 is background" in source.notes


def test_scene_parsing(tmp_path: Path):
    """ADE20K: 0 is no class."""
    pair(tmp_path, "a", INDEX)
    rows = ["Idx\tRatio\tTrain\tVal\tName", "1\t0.1\t9\t9\twall", "2\t0.1\t9\t9\tbuilding, edifice"]
    (tmp_path / "objectInfo150.txt").write_text("\n".join(rows))
    source = open_source(tmp_path)
    assert source.class_names == ("wall", "building, edifice")
    assert read(source) == [[-1, -1, 0, 1], [-1, 1, 1, -1], [0, 0, -1, -1]]


WHITE = np.where(INDEX > 1, 255, 0).astype(np.uint8)


@pytest.mark.parametrize("names", [None, "cell\n", "none\ncell\n"])
def test_black_and_white_are_two_classes(tmp_path: Path, names: str | None):
    pair(tmp_path, "a", WHITE)
    pair(tmp_path, "b", np.zeros_like(WHITE))
    Image.fromarray(WHITE > 0).save(tmp_path / "masks/b.png")  # one bit
    if names:
        (tmp_path / "classes.txt").write_text(names)
    source = open_source(tmp_path)
    assert source.class_names == ("none" if names == "none\ncell\n" else "background", "cell" if names else "object")
    assert read(source) == read(source, 1) == (WHITE > 0).astype(int).tolist()
    assert any("have the values 0 and 255 only" in note and "no pixel is ignored" in note for note in source.notes)


def test_one_mask_with_another_value_makes_255_the_ignored(tmp_path: Path):
    pair(tmp_path, "a", WHITE)
    pair(tmp_path, "b", INDEX)
    source = open_source(tmp_path)
    assert source.class_names == ("0", "1", "2")
    assert read(source) == np.where(WHITE == 255, -1, 0).tolist()


def test_black_and_white_in_jpeg(tmp_path: Path):
    mask = np.zeros((16, 16), dtype=np.uint8)
    mask[:, 9:] = 255
    noisy = np.clip(mask.astype(int) + np.random.default_rng(0).integers(-4, 5, mask.shape), 0, 255).astype(np.uint8)
    draw(tmp_path / "images/a.png", 16, 16)
    (tmp_path / "masks").mkdir()
    Image.fromarray(noisy).save(tmp_path / "masks/a.jpg", quality=100)
    source = open_source(tmp_path)
    assert source.class_names == ("background", "object")
    assert read(source) == (mask > 0).astype(int).tolist()


COLOURS = {0: (0, 0, 0), 1: (128, 64, 128), 2: (0, 0, 142), 255: (224, 224, 192)}
CODED = np.array([[COLOURS[value] for value in row] for row in INDEX.tolist()], dtype=np.uint8)
TABLES = {
    "class_dict.csv": "name,r,g,b\nsky,0,0,0\nroad,128,64,128\ncar,0,0,142\nVoid,224,224,192\n",
    "labelmap.txt": "# label:color_rgb:parts:actions\nsky:0,0,0::\nroad:128,64,128::\ncar:0,0,142::\n"
    "void:224,224,192::\n",
    "label_colors.txt": "0 0 0\tsky\n128 64 128\troad\n0 0 142\tcar\n224 224 192\tVoid\n",
}


@pytest.mark.parametrize("name", list(TABLES))
def test_colours(tmp_path: Path, name: str):
    pair(tmp_path, "a", CODED)
    draw(tmp_path / "images/b.png", 4, 3)
    Image.fromarray(CODED).quantize(16).save(tmp_path / "masks/b.png")  # a palette in any order
    (tmp_path / name).write_text(TABLES[name])
    source = open_source(tmp_path)
    assert (source.class_names, source.bad) == (("sky", "road", "car"), ())
    assert read(source) == read(source, 1) == EXPECTED


def test_colours_without_a_table(tmp_path: Path):
    pair(tmp_path, "a", CODED)
    with pytest.raises(VitrailError, match=r"have colours, such as .*a\.png: add a class_dict\.csv"):
        open_source(tmp_path)
    pair(tmp_path, "a", np.repeat(INDEX[..., None], 3, axis=2))  # grey as colour
    assert read(open_source(tmp_path)) == EXPECTED


def test_masks_that_are_wrong(tmp_path: Path):
    for stem in "abcdefghijk":
        pair(tmp_path, stem, np.minimum(INDEX, 2))
    (tmp_path / "classes.txt").write_text("sky\nroad\ncar\n")
    pair(tmp_path, "number", np.where(INDEX == 2, 7, 3).astype(np.uint8))
    pair(tmp_path, "colour", CODED)
    pair(tmp_path, "none", None)
    pair(tmp_path, "size", INDEX[:2])
    pair(tmp_path, "text", INDEX)
    (tmp_path / "masks/text.png").write_text("not a mask")
    pair(tmp_path, "cut", INDEX)
    (tmp_path / "masks/cut.png").write_bytes((tmp_path / "masks/cut.png").read_bytes()[:-20])
    pair(tmp_path, "bits", INDEX)
    Image.fromarray(INDEX.astype(np.float32) / 7).save(tmp_path / "masks/bits.tiff")
    (tmp_path / "masks/bits.png").unlink()
    save(tmp_path / "masks/lonely.png", INDEX)
    found = fit_annotations(survey(open_source(tmp_path)))
    assert [s.name for s in found.source.samples] == [f"images/{stem}.png" for stem in "abcdefghijk"]
    assert len(found.facts) == len(found.source.samples)
    named = {bad.name: bad.reason for bad in found.bad}
    assert named["images/number.png"] == "its mask masks/number.png has the values 3, 7, which stand for no class"
    assert named["images/colour.png"] == "its mask masks/colour.png has colours, the others have none"
    assert named["images/none.png"] == "no mask"
    assert named["images/size.png"].startswith("annotations are for 4×2, the image is 4×3: ")
    assert named["images/text.png"] == "its mask masks/text.png: not an image, or damaged in its first bytes"
    assert "its mask masks/cut.png: truncated" in named["images/cut.png"]
    assert "a mask of type float32, but whole numbers are needed" in named["images/bits.png"]
    assert named["masks/lonely.png"] == "no image of this name"
    assert len(named) == 8


def test_unknown_colours(tmp_path: Path):
    pair(tmp_path, "a", CODED)
    pair(tmp_path, "b", np.where(CODED == 142, 141, CODED))
    (tmp_path / "class_dict.csv").write_text(TABLES["class_dict.csv"])
    assert reasons(open_source(tmp_path)) == {
        "images/b.png": "its mask masks/b.png has the colour (0, 0, 141), which stands for no class"
    }


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("classes.txt", "sky\nSky\n", "names the class 'sky' twice"),
        ("class_names.json", '["sky", ', "is not valid JSON"),
        ("class_names.json", "5", "neither a list of names nor a mapping"),
        (
            "class_dict.csv",
            "name,r,g,b\nsky,0,0\n",
            "the row 'sky, 0, 0': it needs a name and three numbers from 0 to 255",
        ),
        ("class_dict.csv", "name,r,g,b\nsky,0,0,1e999\n", "the row 'sky, 0, 0, 1e999': it needs a name"),
        ("class_dict.csv", "name,r,g,b\nsky,0,0,300\n", "the row 'sky, 0, 0, 300': it needs a name"),
        ("class_dict.csv", "name,r,g,b\nsky,0,0,0\nroad,0,0,0\n", "gives two classes the same colour"),
    ],
)
def test_lists_that_are_wrong(tmp_path: Path, name: str, text: str, words: str):
    pair(tmp_path, "a", CODED)
    (tmp_path / name).write_text(text)
    with pytest.raises(VitrailError, match=words):
        open_source(tmp_path)


def test_numpy_masks(tmp_path: Path):
    pair(tmp_path, "a", None)
    (tmp_path / "masks").mkdir()
    np.save(tmp_path / "masks/a.npy", INDEX.astype(np.int64))
    assert read(open_source(tmp_path)) == EXPECTED


def test_a_mask_that_changes_later_is_named(tmp_path: Path):
    pair(tmp_path, "a", INDEX)
    label = open_source(tmp_path).samples[0].labels[0]
    save(tmp_path / "masks/a.png", INDEX + 3)
    from vitrail.data.decode import BadImage

    with pytest.raises(BadImage, match=r"a\.png: has the value 3, which stands for no class"):
        label.read()


def test_class_folders_stay_class_folders(tmp_path: Path):
    root = tmp_path / "classes"
    for name in ("images/1.png", "labels/2.png", "img/3.png"):
        draw(root / name, 4, 3)
    assert open_source(root).task.name == "classification"
    with pytest.raises(VitrailError, match="no annotations for --task segmentation: give it images/ and masks/"):
        open_source(root, task=TaskSpec("segmentation"))


def test_a_part_whose_masks_are_kept_back_is_not_used(tmp_path: Path):
    hidden = np.full((3, 4), 255, dtype=np.uint8)
    for part, mask in (("train", INDEX), ("test", hidden)):
        draw(tmp_path / f"images/{part}/a.png", 4, 3, (1, 1, 3, 2))
        save(tmp_path / f"masks/{part}/a.png", mask)
    source = open_source(tmp_path)
    assert [sample.split for sample in source.samples] == ["train"]
    assert "all pixels of the masks of test are ignored: its images are not used" in source.notes
    (tmp_path / "classes.txt").write_text("sky\nsea\nland\n")
    save(tmp_path / "masks/train/a.png", hidden)
    with pytest.raises(VitrailError, match=r"all pixels of all masks in .* are ignored"):
        open_source(tmp_path)


def beside(root: Path, stem: str, mask: np.ndarray | None, ending: str = "_mask", image: str = ".jpg") -> None:
    draw(root / f"{stem}{image}", 4, 3, (1, 1, 3, 2))
    if mask is not None:
        save(root / f"{stem}{ending}.png", mask)


@pytest.mark.parametrize("ending", ["_mask", "_seg", "-mask", "_labelIds"])
def test_masks_beside_their_images(tmp_path: Path, ending: str):
    for folder in ("benign", "malign/deep"):
        for number in range(3):
            beside(tmp_path, f"{folder}/x ({number})", INDEX, ending)
    source = open_source(tmp_path)
    assert (source.task.name, len(source.samples), source.bad) == ("segmentation", 6, ())
    assert source.samples[0].name == "benign/x (0).jpg"
    assert read(source) == EXPECTED
    assert source.notes[0] == "task segmentation: masks in benign and 1 more folder"
    assert len(open_source(tmp_path, labelled=False).samples) == 6
    classes = open_source(tmp_path, task=CLASSIFICATION)
    assert (classes.class_names, len(classes.samples)) == (("benign", "malign"), 6)
    assert any(note.startswith("6 of the images are maps of others beside them, such as") for note in classes.notes)


def test_masks_beside_images_that_end_with_sat(tmp_path: Path):
    for number in range(3):
        draw(tmp_path / f"train/{number}_sat.jpg", 4, 3)
        save(tmp_path / f"train/{number}_mask.png", INDEX)
    source = open_source(tmp_path)
    assert [(one.name, one.split) for one in source.samples] == [(f"train/{n}_sat.jpg", "train") for n in range(3)]
    assert source.notes[0] == "task segmentation: masks in train"


def test_further_and_missing_masks_beside_images(tmp_path: Path):
    for stem in "abc":
        beside(tmp_path, stem, INDEX)
    save(tmp_path / "a_mask_1.png", INDEX)
    beside(tmp_path, "d", None)
    source = open_source(tmp_path)
    assert len(source.samples) == 3
    further = "a further map of a.jpg: join them in one file"
    assert reasons(source) == {"d.jpg": "no mask", "a_mask_1.png": further}
    assert source.notes[0] == "task segmentation: masks in the folder of the images"


def test_a_few_masks_beside_images_are_enough_where_they_are_asked_for(tmp_path: Path):
    beside(tmp_path, "deep/a", INDEX)
    for stem in ("b", "c", "deep/d"):
        beside(tmp_path, stem, None)
    source = open_source(tmp_path, task=SEGMENTATION)
    assert [one.name for one in source.samples] == ["deep/a.jpg"]
    assert reasons(source) == dict.fromkeys(("b.jpg", "c.jpg", "deep/d.jpg"), "no mask")
    asked = open_source(tmp_path, labelled=False, task=SEGMENTATION)
    assert [one.name for one in asked.samples] == ["b.jpg", "c.jpg", "deep/a.jpg", "deep/d.jpg"]


def test_masks_and_depths_beside_the_same_images(tmp_path: Path):
    for stem in "abc":
        beside(tmp_path, stem, INDEX)
        save(tmp_path / f"{stem}_depth.png", INDEX.astype(np.uint16) * 1000 + 1000)
    for task, count in ((None, 3), (SEGMENTATION, 3), (TaskSpec("depth"), 3)):
        source = open_source(tmp_path, task=task)
        assert ([one.name for one in source.samples], source.bad) == (["a.jpg", "b.jpg", "c.jpg"], ())
        assert len(open_source(tmp_path, labelled=False, task=task).samples) == count


def test_one_image_in_a_folder_before_those_with_masks(tmp_path: Path):
    draw(tmp_path / "cover.jpg", 4, 3)
    for stem in "abc":
        beside(tmp_path, f"data/{stem}", INDEX)
    source = open_source(tmp_path)
    assert (len(source.samples), reasons(source)) == (3, {"cover.jpg": "no mask"})


def test_masks_whose_names_are_composed_otherwise(tmp_path: Path):
    draw(tmp_path / unicodedata.normalize("NFD", "Größe.jpg"), 4, 3)
    save(tmp_path / unicodedata.normalize("NFC", "Größe_mask.png"), INDEX)
    assert read(open_source(tmp_path)) == EXPECTED


def test_photographs_of_masks_are_photographs(tmp_path: Path):
    """Only where most images of a folder have one beside them are they maps."""
    for number in range(4):
        draw(tmp_path / f"with_mask/{number}.png", 4, 3)
        draw(tmp_path / f"without_mask/{number}.png", 4, 3)
    draw(tmp_path / "with_mask/0_mask.png", 4, 3)
    draw(tmp_path / "with_mask/face_mask.png", 4, 3)
    source = open_source(tmp_path)
    assert (source.class_names, len(source.samples)) == (("with_mask", "without_mask"), 10)
    assert source.notes[1:] == (
        "one image is named as a map of another beside it, such as with_mask/0_mask.png, and used as an image, because "
        "most images have no map: move maps out of the class folders",
    )


def test_images_and_their_masks_are_no_classes(tmp_path: Path):
    for stem in "abc":
        pair(tmp_path, stem, INDEX)
    with pytest.raises(VitrailError, match="has images and maps of them in images, masks, no class folders"):
        open_source(tmp_path, task=CLASSIFICATION)


def test_masks_in_jpegs(tmp_path: Path):
    """Black and white come back; numbers of classes, which a JPEG changes, are refused."""
    mask = np.zeros((64, 64), np.uint8)
    mask[10:30, 20:50] = 255
    classes = np.where(mask > 0, np.uint8(7), np.uint8(0))
    classes[40:50, 5:60] = 3
    for stem, array in (("a", mask), ("b", np.zeros_like(mask)), ("c", classes)):
        draw(tmp_path / f"images/{stem}.png", 64, 64)
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(array).save(tmp_path / f"masks/{stem}.jpg", quality=70)
    assert len(np.unique(np.asarray(Image.open(tmp_path / "masks/a.jpg")))) > 2
    source = open_source(tmp_path)
    assert list(reasons(source)) == ["images/c.png"]
    assert "does not keep the numbers of classes" in reasons(source)["images/c.png"]
    assert len(source.class_names) == 2
    assert np.array_equal(np.array(read(source)), mask // 255)
    assert not np.array(read(source, 1)).any()
