"""Folders with a metadata table, as the Hugging Face Hub has them, and labels in JSON lines."""

import json
from pathlib import Path

import pytest
from PIL import Image

from vitrail import VitrailError, open_source
from vitrail.data.folder_formats import folder_format
from vitrail.task_spec import CLASSIFICATION, REGRESSION, TaskSpec


def images(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(root / name)


def lines(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def labels(root: Path, task: TaskSpec | None = None) -> dict[str, tuple[object, ...]]:
    source = open_source(root, task=task)
    names = source.class_names
    return {s.name: tuple(names[i] if isinstance(i, int) else i for i in s.labels) for s in source.samples}


def test_captions(tmp_path: Path):
    images(tmp_path, "a.png", "b.png")
    lines(tmp_path / "metadata.jsonl", {"file_name": "a.png", "text": "a cat"}, {"file_name": "b.png", "text": "a dog"})
    source = open_source(tmp_path)
    assert source.task == TaskSpec("image-text")
    assert labels(tmp_path) == {"a.png": ("a cat",), "b.png": ("a dog",)}


def test_a_list_has_several_captions_and_a_bracket_is_no_list(tmp_path: Path):
    images(tmp_path, "a.png", "b.png")
    rows = [{"file_name": "a.png", "text": ["a cat", "cats"]}, {"file_name": "b.png", "text": "[blurred] a dog"}]
    lines(tmp_path / "metadata.jsonl", *rows)
    assert labels(tmp_path) == {"a.png": ("a cat", "cats"), "b.png": ("[blurred] a dog",)}


def test_file_name_wins_over_other_columns_of_paths(tmp_path: Path):
    images(tmp_path, "train/1.png", "train/2.png")
    (tmp_path / "train/metadata.csv").write_text("filename,file_name,label\nold,1.png,cat\nold,2.png,dog\n")
    assert labels(tmp_path) == {"train/1.png": ("cat",), "train/2.png": ("dog",)}


def test_classes_of_json_lines_with_and_without_the_folder(tmp_path: Path):
    images(tmp_path, "a.png", "b.png", "c.png")
    rows = [{"file_name": "a.png", "label": 3}, {"file_name": "b.png", "label": "dog"}, {"file_name": "c.png"}]
    path = lines(tmp_path / "metadata.jsonl", *rows)
    for source in (open_source(path), open_source(tmp_path)):
        assert (source.task, source.class_names) == (CLASSIFICATION, ("dog", "3"))
        assert [(bad.name, bad.reason) for bad in source.bad] == [("c.png", "no label (line 3)")]
    several = lines(tmp_path / "several.jsonl", {"file_name": "a.png", "labels": ["x", "y"]})
    assert labels(several) == {"a.png": ("x", "y")}
    assert len(open_source(path, labelled=False).samples) == 3


def test_numbers(tmp_path: Path):
    images(tmp_path, "a.png", "b.png")
    (tmp_path / "metadata.csv").write_text("file_name,target\na.png,0.5\nb.png,2\n")
    assert labels(tmp_path) == {"a.png": (0.5,), "b.png": (2.0,)}
    assert open_source(tmp_path).task == REGRESSION


def test_splits_have_tables_of_their_own(tmp_path: Path):
    images(tmp_path, "train/1.png", "train/deep/2.png", "test/1.png")
    (tmp_path / "train/metadata.csv").write_text("file_name,label\n1.png,cat\ndeep/2.png,dog\n3.png,dog\n1,2,3\n")
    lines(tmp_path / "test/metadata.jsonl", {"label": "cat", "file_name": "1.png", "more": None})
    source = open_source(tmp_path)
    assert [(s.name, s.split) for s in source.samples] == [
        ("test/1.png", "test"),
        ("train/1.png", "train"),
        ("train/deep/2.png", "train"),
    ]
    assert {bad.name: bad.reason for bad in source.bad} == {
        "train/3.png": "no such file (line 4)",
        "train/line 5": "3 cells, where the header has 2",
    }


def test_a_stated_split_wins_over_the_folder(tmp_path: Path):
    images(tmp_path, "train/1.png", "train/2.png")
    (tmp_path / "train/metadata.csv").write_text("file_name,label,split\n1.png,cat,val\n2.png,dog,\n")
    assert [s.split for s in open_source(tmp_path).samples] == ["val", "train"]


@pytest.mark.parametrize("text", ["file_name,width\ncat/1.png,8\n", "name,label\nx,y\n", "", 'a,"b\n'])
def test_class_folders_stay_what_they_are_beside_another_table(tmp_path: Path, text: str):
    images(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "metadata.csv").write_text(text)
    assert open_source(tmp_path).class_names == ("cat", "dog")


def test_the_task_asks_for_its_column(tmp_path: Path):
    images(tmp_path, "cat/1.png", "dog/1.png")
    rows = [{"file_name": f"{name}/1.png", "text": f"a {name}"} for name in ("cat", "dog")]
    lines(tmp_path / "metadata.jsonl", *rows)
    assert labels(tmp_path, CLASSIFICATION) == {"cat/1.png": ("cat",), "dog/1.png": ("dog",)}
    assert folder_format(tmp_path, CLASSIFICATION) is None
    with pytest.raises(VitrailError, match="has no annotations for --task detection"):
        open_source(tmp_path, task=TaskSpec("detection"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("metadata.csv", 'file_name,label\ncat/1.png,"x\n', "metadata.csv is not a CSV"),
        ("metadata.jsonl", '{"file_name": "cat/1.png", "label": "x"\n', "metadata.jsonl names no image"),
    ],
)
def test_a_broken_table_of_the_images_is_a_sentence(tmp_path: Path, name: str, text: str, message: str):
    images(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / name).write_text(text)
    with pytest.raises(VitrailError, match=message):
        open_source(tmp_path)


def test_two_tables_would_give_each_image_twice(tmp_path: Path):
    images(tmp_path, "train/a.png")
    (tmp_path / "train/metadata.csv").write_text("file_name,label\na.png,x\n")
    (tmp_path / "train/metadata.jsonl").write_text('{"file_name": "a.png", "label": "x"}\n')
    with pytest.raises(VitrailError, match=r"train has metadata\.csv and metadata\.jsonl: keep one of them"):
        open_source(tmp_path)


def test_a_table_that_is_not_used_is_named(tmp_path: Path):
    """A table without the column file_name, and the table of a competition beside the folders of its images."""
    images(tmp_path, "a.png")
    (tmp_path / "metadata.csv").write_text("name,label\na.png,x\n")
    with pytest.raises(VitrailError, match=r"holds 1 images but no class folders: .*, or name .*/metadata\.csv$"):
        open_source(tmp_path)
    competition = tmp_path / "competition"
    images(competition, "train_images/a.png", "test_images/b.png")
    (competition / "train.csv").write_text("id,label\na,x\n")
    note = f"the folders are the classes: to use {competition}/train.csv, name it"
    assert note in open_source(competition).notes
