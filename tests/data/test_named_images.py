"""Tables that name images without their folder or suffix, and captions in the forms of published sets."""

import unicodedata
from pathlib import Path

import pytest
from drawn import draw

from vitrail.data.named_images import NamedImages
from vitrail.data.open import open_source
from vitrail.data.samples import Source
from vitrail.errors import VitrailError
from vitrail.task_spec import REGRESSION, TaskSpec


def pictures(root: Path, *names: str) -> Path:
    for name in names:
        draw(root / name, 4, 3)
    return root


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def rows(source: Source) -> list[tuple[str, tuple]]:
    return [(sample.name, sample.labels) for sample in source.samples]


@pytest.mark.parametrize("column", ["id", "id_code", "image_id", "image_name", "Image_Path"])
@pytest.mark.parametrize("suffix", ["", ".png"])
def test_names_alone_are_found_in_the_folder_of_the_table(tmp_path: Path, column: str, suffix: str):
    pictures(tmp_path, "train_images/0a.png", "train_images/1b.png", "test_images/0a.png")
    table = write(tmp_path / "train.csv", f"{column},label\n0a{suffix},cat\n1b{suffix},dog\ngone{suffix},dog\n")
    source = open_source(table)
    assert rows(source) == [("train_images/0a.png", (0,)), ("train_images/1b.png", (1,))]
    assert [(bad.name, bad.reason) for bad in source.bad] == [(f"gone{suffix}", "no such file (line 4)")]
    assert "the images are found by their names in train_images" in source.notes
    asked = open_source(table, labelled=False)
    assert [sample.name for sample in asked.samples] == ["train_images/0a.png", "train_images/1b.png"]


def test_an_id_is_an_index_where_there_is_a_path(tmp_path: Path):
    pictures(tmp_path, "a.png", "b.png", "1.png")
    table = write(tmp_path / "x.csv", "id,path,size\n1,a.png,0.5\n2,b.png,1.5\n")
    source = open_source(table, task=REGRESSION)
    assert (rows(source), source.class_names) == ([("a.png", (0.5,)), ("b.png", (1.5,))], ("size",))
    assert not any("by their names" in note for note in source.notes)


def test_a_few_missing_files_are_not_looked_for_elsewhere(tmp_path: Path):
    pictures(tmp_path, "a.png", "b.png", "old/c.png")
    source = open_source(write(tmp_path / "x.csv", "path,label\na.png,x\nb.png,y\nc.png,y\n"))
    assert [(bad.name, bad.reason) for bad in source.bad] == [("c.png", "no such file (line 4)")]


def test_two_images_of_one_name(tmp_path: Path):
    pictures(tmp_path, "a/x.png", "b/x.png", "b/y.png")
    found = NamedImages(tmp_path, ["x.png", "y.png", "x"])
    assert found.find("y.png") == ("b/y.png", "")
    assert found.find("x.png") == ("x.png", "two images of this name: a/x.png and b/x.png")
    assert found.find("x") == ("x", "two images of this name: a/x.png and b/x.png")
    assert found.find("c\\y.png") == ("c/y.png", "no such file, only b/y.png")
    assert NamedImages(tmp_path, ["x.png", "y.png"], ["b"]).find("x.png") == ("b/x.png", "")


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ("img_7.png", "no such file, only photos/IMG_7.PNG"),  # a table from Windows
        ("IMG_7.jpg", "no such file, only photos/IMG_7.PNG"),
        ("img_7", "no such file, only photos/IMG_7.PNG"),
        ("1", "no such file, only photos/001.png"),  # a spreadsheet has dropped the zeros
        ("2", "no such file"),
    ],
)
def test_names_that_are_nearly_those_of_images(tmp_path: Path, asked: str, problem: str):
    pictures(tmp_path, "photos/IMG_7.PNG", "photos/001.png")
    assert NamedImages(tmp_path, [asked]).find(asked) == (asked, problem)


def test_numbers_that_pandas_has_written_as_floats(tmp_path: Path):
    pictures(tmp_path, "train/7.png", "train/12.png")
    table = write(tmp_path / "train.csv", "id,label\n7.0,cat\n12.0,dog\n3.0,dog\n")
    source = open_source(table)
    assert rows(source) == [("train/7.png", (0,)), ("train/12.png", (1,))]
    assert [(bad.name, bad.reason) for bad in source.bad] == [("3.0", "no such file (line 4)")]


@pytest.mark.parametrize(("table", "files"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_paths_that_are_composed_otherwise(tmp_path: Path, table: str, files: str):
    name = unicodedata.normalize(files, "a/Größe.png")
    pictures(tmp_path, name, "a/b.png", "a/c.png")
    found = NamedImages(tmp_path, ["a/b.png", "a/c.png", unicodedata.normalize(table, "a/Größe.png")])
    assert found.find(unicodedata.normalize(table, "a/Größe.png")) == (name, "")


def test_a_list_without_a_header(tmp_path: Path):
    for text in ("a.png 3\nb.png 4\n", "a.jpg,cat\nb.jpg,dog\n"):
        table = write(tmp_path / "x.txt", text)
        with pytest.raises(VitrailError, match=r"no path column among .*: write a header above its first line"):
            open_source(table)


def test_paths_of_another_machine(tmp_path: Path):
    pictures(tmp_path, "photos/a.png", "photos/b.png")
    table = write(tmp_path / "x.csv", "path,label\nC:\\data\\photos\\a.png,x\n/home/me/photos/b.png,y\n")
    assert rows(open_source(table)) == [("photos/a.png", (0,)), ("photos/b.png", (1,))]


def test_captions_of_flickr8k(tmp_path: Path):
    pictures(tmp_path, "Images/1.png", "Images/2.png")
    text = 'image,caption\n1.png,A dog .\n1.png,A black dog .\n2.png,"A cat, a hat ."\n'
    source = open_source(write(tmp_path / "captions.txt", text))
    assert rows(source) == [("Images/1.png", ("A dog .", "A black dog .")), ("Images/2.png", ("A cat, a hat .",))]


def test_captions_of_flickr30k(tmp_path: Path):
    pictures(tmp_path, "flickr30k_images/1.png", "flickr30k_images/2.png")
    expected = [("flickr30k_images/1.png", ("A dog , black .", "Dog")), ("flickr30k_images/2.png", ("A cat",))]
    table = "image_name| comment_number| comment\n1.png| 0| A dog , black .\n1.png| 1| Dog\n2.png| 0| A cat\n2.png| 4\n"
    for task in (None, TaskSpec("image-text")):
        source = open_source(write(tmp_path / "results.csv", table), task=task)
        assert rows(source) == expected
    assert [bad.reason for bad in source.bad] == ["2 cells, where the header has 3 (line 5)"]
    tokens = "1.png#0\tA dog , black .\n1.png#1\tDog\n2.png#0\tA cat\nno tab\n"
    assert rows(open_source(write(tmp_path / "Flickr8k.token.txt", tokens))) == expected
    source = open_source(write(tmp_path / "results.token", tokens))
    assert (rows(source), source.task.name) == (expected, "image-text")
    assert [(bad.name, bad.reason) for bad in source.bad] == [("line 4", "no tab between the name and the caption")]
    with pytest.raises(VitrailError, match="has no captions: it needs lines of name#number, a tab"):
        open_source(write(tmp_path / "empty.token", "\nx\n"))


def test_quotes_in_captions_between_bars(tmp_path: Path):
    pictures(tmp_path, "1.png", "2.png")
    table = 'image_name| comment_number| comment\n1.png| 0| "Stop" sign .\n1.png| 1| " Red\n2.png| 0| A "cat" .\n'
    source = open_source(write(tmp_path / "results.csv", table))
    assert rows(source) == [("1.png", ('"Stop" sign .', '" Red')), ("2.png", ('A "cat" .',))]
    table = 'image,caption\n1.png,"Stop" sign\n'
    with pytest.raises(VitrailError, match=r"\(after line 1\); a quote in a quoted cell is written twice"):
        open_source(write(tmp_path / "captions.csv", table))
