"""Folders as they are on real disks: odd names, links, thumbnails, files of other kinds."""

import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from vitrail.data.open import BadImage, open_source, read_image
from vitrail.data.samples import natural, normal
from vitrail.errors import VitrailError
from vitrail.json_text import json_text
from vitrail.tables import csv_text

ODD_BYTES = pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="file names are Unicode there")


def images(root: Path, *names: str) -> Path:
    for value, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), value).save(root / name, "PNG")
    return root


def test_digits_that_are_no_numbers(tmp_path: Path):
    source = open_source(images(tmp_path, "①/1.png", "x²/2.png", "H₂O/③.png", "x10/1.png", "x9/1.png"))
    assert set(source.class_names) == {"①", "x²", "H₂O", "x10", "x9"}
    assert source.class_names.index("x9") < source.class_names.index("x10")
    assert sorted(["a²", "a10", "a9", "a"], key=natural) == ["a", "a9", "a10", "a²"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Icon\r", "Icon"),
        ("a\rb\x1b[31m", r"a\rb\x1b[31m"),
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
        ("line\u2028end", r"line\u2028end"),
        ("e\u0301 日本 🐱", "é 日本 🐱"),
    ],
)
def test_class_names_can_be_written_everywhere(name: str, expected: str):
    assert normal(name) == expected
    assert normal(expected) == expected


@ODD_BYTES
def test_names_that_are_not_utf8(tmp_path: Path):
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    images(tmp_path, "tea/1.png")
    Image.new("L", (4, 4), 7).save(os.fsdecode(folder + b"/\xff1.png"))
    source = open_source(tmp_path)
    assert source.class_names == (r"caf\xe9", "tea")
    assert os.fsencode(source.samples[0].name) == b"caf\xe9/\xff1.png"  # tables name the file as it is
    assert int(read_image(source.samples[0]).max()) == 7


def test_tables_and_json_keep_every_name():
    import csv
    import io
    import json

    names = ["a\rb", "a\nb", "a\r\nb", 'a"b', "a,b", " a", os.fsdecode(b"\xff")]
    text = csv_text([names])
    assert next(csv.reader(io.StringIO(text, newline=""))) == names
    assert text.count("\n") == 3  # two inside names
    assert json.loads(json_text(names).encode()) == names


def test_thumbnails_and_bins_of_storage_devices_are_ignored(tmp_path: Path):
    hidden = ("@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found", "__MACOSX", ".trash")
    images(tmp_path, "cat/1.png", "dog/1.png", *(f"cat/{folder}/1.png" for folder in hidden))
    images(tmp_path, *(f"{folder}/1.png" for folder in hidden))
    source = open_source(tmp_path)
    assert (source.class_names, len(source.samples)) == (("cat", "dog"), 2)
    assert len(open_source(tmp_path, labelled=False).samples) == 2
    assert len(open_source(f"{tmp_path}/**/*.png", labelled=False).samples) == 2


def test_what_is_ignored_is_noted(tmp_path: Path):
    images(tmp_path, "cat/1.png", "dog/1.png")
    for name in ("fox/1.jxl", "fox/2.jxl", "cat/2.jpg_large", "cat/IMG3", "cat/notes.txt", "cat/README", "cat/._1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    assert open_source(tmp_path).notes == (
        "task classification: 2 classes",
        "no image in empty, fox: these folders are ignored",
        "files in class folders whose suffix is none of an image are ignored: 2 .jxl, 1 .jpg_large, 1 without a "
        "suffix, such as cat/2.jpg_large; rename or convert those that are images",
    )
    (tmp_path / "fox/3.mp4").write_bytes(b"x")
    assert (
        "some of them are videos: --task video takes them, and folders of frames, as clips"
        in open_source(tmp_path).notes
    )
    assert open_source(images(tmp_path / "tidy", "cat/1.png", "dog/1.png")).notes == ("task classification: 2 classes",)


def test_a_split_without_an_image_of_a_class_is_noted(tmp_path: Path):
    images(tmp_path, "train/cat/1.png", "train/dog/1.png", "val/cat/1.png")
    (tmp_path / "val/dog").mkdir()
    assert "no image in val/dog: this folder is ignored" in open_source(tmp_path).notes


def test_links_to_themselves_are_named_and_stop_nothing(tmp_path: Path):
    images(tmp_path, "cat/1.png", "dog/1.png")
    for name in ("self", "cat/self", "cat/loop.png"):
        (tmp_path / name).symlink_to(tmp_path / name)
    source = open_source(tmp_path)
    assert [sample.name for sample in source.samples] == ["cat/1.png", "cat/loop.png", "dog/1.png"]
    with pytest.raises(BadImage, match=r"loop\.png: Too many levels"):
        read_image(source.samples[1])
    assert len(open_source(tmp_path, labelled=False).samples) == 3
    with pytest.raises(VitrailError, match="self"):
        open_source(tmp_path / "self")


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes in folders there")
def test_pipes_are_no_images_and_no_archives(tmp_path: Path):
    images(tmp_path, "cat/1.png", "dog/1.png")
    os.mkfifo(tmp_path / "cat/pipe.png")
    os.mkfifo(tmp_path / "pipe.tar")
    source = open_source(tmp_path)
    with pytest.raises(BadImage, match="not a regular file"):
        read_image(source.samples[1])
    with pytest.raises(VitrailError, match="not a regular file"):
        open_source(tmp_path / "pipe.tar")
