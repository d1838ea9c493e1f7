"""Pascal VOC's XML, and each thing that can be wrong with it."""

from pathlib import Path

import pytest
from drawn import Rectangle, covered, draw, pixels

from vitrail.data.open import open_source
from vitrail.data.samples import Source
from vitrail.errors import VitrailError

RECTANGLES = [(2, 1, 6, 5), (4, 3, 11, 8)]


def thing(name: str, rectangle: Rectangle, *, first: int = 1, difficult: int = 0) -> str:
    """An object; with `first` 1 pixels are counted from 1, and the last one is in the box."""
    left, top, right, bottom = rectangle
    edges = zip(("xmin", "ymin", "xmax", "ymax"), (left + first, top + first, right, bottom), strict=True)
    inner = "".join(f"<{key}>{value}</{key}>" for key, value in edges)
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{inner}</bndbox></object>"


def page(*things: str, size: str = "<size><width>12</width><height>8</height><depth>1</depth></size>") -> str:
    return f"<annotation>\n<filename>wrong.png</filename>\n{size}\n" + "\n".join(things) + "\n</annotation>"


def sample(
    root: Path, stem: str, text: str | bytes | None, images: str = "JPEGImages", xml: str = "Annotations"
) -> None:
    draw(root / images / f"{stem}.png", 12, 8, *RECTANGLES)
    if text is not None:
        (root / xml).mkdir(parents=True, exist_ok=True)
        (root / xml / f"{stem}.xml").write_bytes(text if isinstance(text, bytes) else text.encode())


def reasons(source: Source) -> dict[str, str]:
    return {bad.name: bad.reason for bad in source.bad}


THINGS = (thing("dog", RECTANGLES[0]), thing("cat", RECTANGLES[1], difficult=1))


@pytest.mark.parametrize(
    ("images", "xml"),
    [("JPEGImages", "Annotations"), ("images", "annotations"), ("train", "train"), ("", ""), ("x/img", "x/xml")],
)
def test_boxes_to_the_pixel(tmp_path: Path, images: str, xml: str):
    sample(tmp_path, "a", page(*THINGS), images, xml)
    sample(tmp_path, "b", page(), images, xml)
    source = open_source(tmp_path)
    assert (source.task.name, source.label_kind, source.bad) == ("detection", "boxes", ())
    assert source.class_names == ("cat", "dog")
    first, second = source.samples
    assert (first.annotated_size, second.labels) == ((8, 12), ())
    assert [(box.label, box.crowd) for box in first.labels] == [(1, False), (0, True)]
    assert [pixels(box, 12, 8) for box in first.labels] == RECTANGLES
    drawn = draw(tmp_path / "again.png", 12, 8, *RECTANGLES)
    assert (covered(first.labels[1], 12, 8).numpy() == (drawn == 2)).all()
    assert source.notes == ("task detection: boxes of Pascal VOC XML, pixels counted from 1, the last one included",)


def test_edges_from_0_are_those_of_other_programs(tmp_path: Path):
    sample(tmp_path, "a", page(thing("dog", (0, 1, 6, 5), first=0), thing("dog", RECTANGLES[1], first=0)))
    source = open_source(tmp_path)
    assert [pixels(box, 12, 8) for box in source.samples[0].labels] == [(0, 1, 6, 5), RECTANGLES[1]]
    assert "edges counted from 0" in source.notes[0]


def test_lists_of_splits(tmp_path: Path):
    for stem in "abcd":
        sample(tmp_path / "VOC2007", stem, page(*THINGS))
    lists = tmp_path / "VOC2007/ImageSets/Main"
    lists.mkdir(parents=True)
    for name, stems in {"train": "a", "val": "b", "trainval": "ab", "test": "cxy", "dog_train": "abcd"}.items():
        (lists / f"{name}.txt").write_text("".join(f"{stem}  1\n" for stem in stems))
    source = open_source(tmp_path)
    assert [(Path(s.name).stem, s.split) for s in source.samples] == [("a", "train"), ("b", "val"), ("c", "test")]
    assert source.bad == ()
    assert "images and splits from ImageSets/Main: 1 train, 1 val, 1 test" in source.notes
    assert "2 of 5 names in ImageSets/Main have no file: x, y" in source.notes


def numbers(left: object, top: object, right: object, bottom: object) -> str:
    edges = zip(("xmin", "ymin", "xmax", "ymax"), (left, top, right, bottom), strict=True)
    inner = "".join(f"<{key}>{value}</{key}>" for key, value in edges)
    return f"<object><name>dog</name><bndbox>{inner}</bndbox></object>"


WRONG = {
    "outside": (
        numbers(20, 1, 25, 5),
        r"object 2: the box from \(19, 0\) to \(25, 5\) is outside an image of 12×8 pixels",
    ),
    "sticks out": (numbers(5, 1, 15, 5), "object 2: the box .* sticks out"),
    "no area": (numbers(5, 3, 4, 5), "object 2: the box .* has no area"),
    "text": (numbers("x", 1, 5, 5), "object 2: its xmin is missing or no finite number"),
    "nan": (numbers("nan", 1, "inf", 5), "object 2: its xmin, xmax are missing or no finite number"),
    "no box": (
        "<object><name>dog</name></object>",
        "object 2: its xmin, ymin, xmax and 0|object 2: its xmin, ymin, xmax, ymax",
    ),
    "no name": (numbers(1, 1, 5, 5).replace("dog", " "), "object 2: it has no name"),
}


@pytest.mark.parametrize(("wrong", "words"), WRONG.values(), ids=list(WRONG))
def test_wrong_objects(tmp_path: Path, wrong: str, words: str):
    sample(tmp_path, "a", page(THINGS[0], wrong))
    sample(tmp_path, "b", page(THINGS[0]))
    source = open_source(tmp_path)
    assert [s.name for s in source.samples] == ["JPEGImages/b.png"]
    with pytest.raises(AssertionError, match=rf"{words}.* \(Annotations/a\.xml\)"):
        raise AssertionError(reasons(source)["JPEGImages/a.png"])


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>' + page("<object><name>&b;</name></object>")
FILES = {
    "not XML": (b"<annotation>\n<size>\n</annotation>", r"it is not valid XML: .*line 3"),
    "empty": (b"", "it is not valid XML"),
    "other": (b"<html></html>", "its root is <html>, not <annotation>"),
    "bomb": (BOMB.encode(), r"it has a document type \(<!DOCTYPE\), which is refused"),
    "bomb in UTF-16": (BOMB.encode("utf-16"), "it has a document type"),
    "not UTF-8": (b"<annotation>\n<name>\xe9\xff</name></annotation>", "line 2 is not UTF-8 text"),
    "declared": (b'<?xml version="1.0" encoding="utf-7"?><annotation/>\n\xff', "line 2 is not UTF-8 text"),
}


@pytest.mark.parametrize(("data", "words"), FILES.values(), ids=list(FILES))
def test_files_that_are_wrong(tmp_path: Path, data: bytes, words: str):
    sample(tmp_path, "a", data)
    sample(tmp_path, "b", page(THINGS[0]))
    with pytest.raises(AssertionError, match=rf"{words}.* \(Annotations/a\.xml\)"):
        raise AssertionError(reasons(open_source(tmp_path))["JPEGImages/a.png"])


def test_other_encodings(tmp_path: Path):
    text = page(thing("été", RECTANGLES[0]))
    sample(tmp_path, "a", b'<?xml version="1.0" encoding="ISO-8859-1"?>\n' + text.encode("latin-1"))
    sample(tmp_path, "b", text.encode("utf-16"))
    sample(tmp_path, "c", b"\xef\xbb\xbf" + text.encode())
    source = open_source(tmp_path)
    assert (source.class_names, source.bad) == (("été",), ())


def test_what_is_missing(tmp_path: Path):
    sample(tmp_path, "a", page(THINGS[0]))
    sample(tmp_path, "b", None)
    (tmp_path / "Annotations/c.xml").write_text(page(THINGS[0]))
    source = open_source(tmp_path)
    assert reasons(source) == {
        "JPEGImages/b.png": "no XML, which images without objects have too",
        "Annotations/c.xml": "no image of this name",
    }


def test_sizes_that_are_not_stated_are_those_of_the_header(tmp_path: Path):
    for stem, size in {"a": "", "b": "<size><width>0</width><height>0</height></size>"}.items():
        sample(tmp_path, stem, page(THINGS[0], size=size))
    source = open_source(tmp_path)
    assert [(s.annotated_size, pixels(s.labels[0], 12, 8)) for s in source.samples] == [((8, 12), RECTANGLES[0])] * 2


def test_names_in_the_xml(tmp_path: Path):
    draw(tmp_path / "photos/real.png", 12, 8)
    (tmp_path / "0001.xml").write_text(page(THINGS[0]).replace("wrong.png", r"C:\somewhere\real.png"))
    assert [s.name for s in open_source(tmp_path).samples] == ["photos/real.png"]


def test_no_object_at_all(tmp_path: Path):
    sample(tmp_path, "a", page())
    with pytest.raises(VitrailError, match=r"no XML of .* has an object with a name"):
        open_source(tmp_path)
