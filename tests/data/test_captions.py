"""Images with captions in tables, JSON lines and shards, and each thing that can be wrong with them."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from drawn import draw

from vitrail.data.open import open_source
from vitrail.data.samples import Source
from vitrail.errors import VitrailError
from vitrail.task_spec import CLASSIFICATION, TaskSpec

IMAGE_TEXT = TaskSpec("image-text")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        draw(tmp_path / f"img/{name}.png", 4, 3)
    return tmp_path


def table(root: Path, text: str, name: str = "pairs.csv") -> Path:
    path = root / name
    path.write_text(text, encoding="utf-8")
    return path


def captions(source: Source) -> dict[str, tuple[str, ...]]:
    assert (source.task, source.label_kind, source.class_names) == (IMAGE_TEXT, "texts", ())
    return {sample.name: sample.labels for sample in source.samples}


def reasons(source: Source) -> dict[str, str]:
    return {bad.name: bad.reason for bad in source.bad}


@pytest.mark.parametrize("column", ["caption", "Captions", "text", "title", "description"])
def test_rows_of_one_image_are_joined(root: Path, column: str):
    path = table(
        root,
        f'path,{column}\nimg/a.png,"a cat,\nblack"\nimg/b.png, a  dog \nimg\\a.png,another\nimg/a.png,another\n',
    )
    source = open_source(path)
    assert captions(source) == {"img/a.png": ("a cat, black", "another"), "img/b.png": ("a dog",)}
    assert source.notes == (f"task image-text: captions from column {column}",)


def test_splits(root: Path):
    source = open_source(table(root, "image\tcaption\tsplit\nimg/a.png\tx\ttrain\nimg/b.png\ty\tval\n", "pairs.tsv"))
    assert [(s.name, s.split) for s in source.samples] == [("img/a.png", "train"), ("img/b.png", "val")]


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("path,label,caption\nimg/a.png,cat,x\nimg/b.png,dog,y\n", "classification"),
        ("path,title,age\nimg/a.png,x,0.5\nimg/b.png,y,1.5\n", "regression"),
        ("path,title,is_a,is_b\nimg/a.png,x,1,0\nimg/b.png,y,0,1\n", "classification"),
        ("path,caption,age\nimg/a.png,x,0.5\nimg/b.png,y,1.5\n", "image-text"),
    ],
)
def test_only_a_table_that_says_so_has_captions(root: Path, text: str, task: str):
    assert open_source(table(root, text)).task.name == task
    assert open_source(table(root, text), task=IMAGE_TEXT).label_kind == "texts"


def test_the_only_other_column_if_captions_are_asked_for(root: Path):
    path = table(root, "file,name\nimg/a.png,cat\nimg/b.png,dog\n")
    assert captions(open_source(path, task=IMAGE_TEXT)) == {"img/a.png": ("cat",), "img/b.png": ("dog",)}
    path = table(root, "file,name,place\nimg/a.png,cat,here\n")
    with pytest.raises(VitrailError, match="has no column of captions among file, name, place"):
        open_source(path, task=IMAGE_TEXT)
    with pytest.raises(VitrailError, match="has no annotations for --task image-text: give it a COCO JSON of captions"):
        open_source(root, task=IMAGE_TEXT)


def test_rows_that_are_wrong(root: Path):
    text = "path,caption,split\nimg/a.png,fine,train\nimg/b.png, ,train\nimg/c.png,x,train\nimg/c.png,y\n"
    text += "img/gone.png,x,train\n,x,train\nC:\\photos\\d.png,x,train\nimg/b.png,x,elsewhere\n"
    source = open_source(table(root, text))
    assert captions(source) == {"img/a.png": ("fine",), "img/c.png": ("x",)}
    found = [(bad.name, bad.reason) for bad in source.bad]
    assert ("img/c.png", "2 cells, where the header has 3 (line 5)") in found
    assert ("img/b.png", "an empty caption (line 3); split 'elsewhere' is none of train, val, test (line 9)") in found
    assert ("img/gone.png", "no such file") in found
    assert ("line 7", "no path (line 7)") in found
    assert ("C:/photos/d.png", "no such file") in found


def test_json_lines(root: Path):
    rows = [
        {"file_name": "img/a.png", "text": "a cat", "extra": [1]},
        {"image": "img/b.png", "captions": ["a dog", "dogs"]},
        {"path": "img/a.png", "caption": "a cat again"},
    ]
    path = table(root, "\ufeff" + "\n\n".join(map(json.dumps, rows)), "pairs.jsonl")
    assert captions(open_source(path)) == {"img/a.png": ("a cat", "a cat again"), "img/b.png": ("a dog", "dogs")}
    with pytest.raises(VitrailError, match="has no label column among file_name, text"):
        open_source(path, task=CLASSIFICATION)


def test_lines_that_are_wrong(root: Path):
    good = b'{"path": "img/a.png", "caption": "fine"}'
    lines = [
        good,
        b'{"path": "img/b.png", "caption": ',
        b"[" * 100_000,
        b"3",
        b'{"caption": "x"}',
        b'{"path": "img/b.png"}',
        b'{"path": "img/c.png", "caption": ["x", 5]}',
        b'{"path": "img/c.png", "caption": []}',
        b'{"path": "\xff", "caption": "x"}',
    ]
    (root / "pairs.jsonl").write_bytes(b"\n".join(lines))
    source = open_source(root / "pairs.jsonl")
    assert list(captions(source)) == ["img/a.png"]
    named = reasons(source)
    assert named["line 2"].startswith("not JSON (")
    assert named["line 3"].startswith("not JSON (")
    assert named["line 4"] == "3, where an object with a path and a label or caption is needed"
    assert named["line 5"] == "no path among ['caption']"
    assert named["img/b.png"] == "an empty caption (line 6)"
    assert named["img/c.png"] == "the caption is 5, not text (line 7); an empty caption (line 8)"
    assert named["line 9"] == "not UTF-8 text"
    with pytest.raises(VitrailError, match=r"none\.jsonl names no image"):
        open_source(table(root, "5\n", "none.jsonl"))


def shard(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def test_shards(root: Path):
    png = (root / "img/a.png").read_bytes()
    members = {
        "1.png": png, "1.txt": b"eine  Katze\n",
        "2.png": png, "2.json": b'{"caption": "a dog"}',
        "3.png": png, "3.txt": b" \n",
        "4.png": png, "4.txt": b"\xff\xfe",
        "5.png": png,
        "readme.txt": b"about",
    }  # fmt: skip
    path = shard(root / "pairs.tar", members)
    source = open_source(path)
    assert captions(source) == {"pairs.tar/1": ("eine Katze",), "pairs.tar/2": ("a dog",)}
    assert reasons(source) == {
        "pairs.tar/3": "an empty caption",
        "pairs.tar/4": "its .txt is not UTF-8 text",
        "pairs.tar/5": "no caption: it has no .txt",
    }


def test_shards_with_labels_have_captions_if_asked_for(root: Path):
    png = (root / "img/a.png").read_bytes()
    members = {}
    for key in ("1", "2"):
        members |= {f"{key}.png": png, f"{key}.cls": key.encode(), f"{key}.txt": f"image {key}".encode()}
    path = shard(root / "pairs.tar", members)
    assert open_source(path).task == CLASSIFICATION
    assert captions(open_source(path, task=IMAGE_TEXT)) == {"pairs.tar/1": ("image 1",), "pairs.tar/2": ("image 2",)}


def test_lines_without_a_row(root: Path):
    with pytest.raises(VitrailError, match=r"pairs.jsonl names no image: it needs an object"):
        open_source(table(root, "\n", "pairs.jsonl"))
