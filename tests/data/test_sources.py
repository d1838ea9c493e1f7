"""Real trees, tables and archives through `open_source`, and each thing that can be wrong with them."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vitrail.data import folder_source
from vitrail.data.open import BadImage, open_source, read_image
from vitrail.data.samples import short_names
from vitrail.errors import VitrailError
from vitrail.task_spec import CLASSIFICATION, MULTI_LABEL, TaskSpec


def picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 5, 3), dtype=np.uint8)).save(path)
    return path


def pictures(root: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        picture(root / name, seed)
    return root


def listed(source: object) -> list[tuple[str, str, str | None]]:
    return [(s.name, source.class_names[s.labels[0]], s.split) for s in source.samples]  # type: ignore[attr-defined]


# Class folders


def test_class_folders_in_natural_order(tmp_path: Path):
    pictures(tmp_path, "class10/a.png", "class2/b.png", "Beta/c.JPG", "alpha/deep/er/d.png", "été/x y.png")
    (tmp_path / "class2/README.md").write_text("not an image")
    (tmp_path / "class2/.hidden.png").write_bytes(b"")
    (tmp_path / ".git").mkdir()
    (tmp_path / "Thumbs.db").write_bytes(b"1")
    source = open_source(tmp_path)
    assert source.class_names == ("alpha", "Beta", "class2", "class10", "été")
    assert ("alpha/deep/er/d.png", "alpha", None) in listed(source)
    assert ("été/x y.png", "été", None) in listed(source)
    assert (len(source.samples), source.bad) == (5, ())
    assert read_image(source.samples[0], 3).shape == (3, 6, 5)


def test_decomposed_and_composed_class_names_are_one(tmp_path: Path):
    pictures(tmp_path, "train/\u00e9t\u00e9/a.png", "train/no/a.png", "test/e\u0301te\u0301/b.png")
    source = open_source(tmp_path)
    assert source.class_names == ("no", "\u00e9t\u00e9")
    assert {s.split for s in source.samples if s.labels == (1,)} == {"train", "test"}


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
def test_split_folders(tmp_path: Path, val: str):
    pictures(tmp_path, "train/cat/1.png", "train/dog/1.png", f"{val}/cat/1.png", "test/dog/1.png", "train/x.png")
    (tmp_path / "annotations").mkdir()
    source = open_source(tmp_path)
    assert source.class_names == ("cat", "dog")
    assert [s.split for s in source.samples] == ["test", "train", "train", "val"]
    assert [bad.name for bad in source.bad] == ["train/x.png"]


def test_train_can_be_a_class(tmp_path: Path):
    assert open_source(pictures(tmp_path, "bus/1.png", "train/1.png")).class_names == ("bus", "train")


def test_names_of_splits_are_no_classes(tmp_path: Path):
    with pytest.raises(VitrailError, match=r"images in train, val, which are names of splits, but no class folders"):
        open_source(pictures(tmp_path, "train/1.png", "val/1.png"))


def test_links_are_followed_but_not_in_circles(tmp_path: Path):
    pictures(tmp_path, "data/cat/1.png", "elsewhere/2.png")
    (tmp_path / "data/dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/cat/again").symlink_to(tmp_path / "data/cat")
    (tmp_path / "data/cat/gone.png").symlink_to(tmp_path / "nowhere.png")
    source = open_source(tmp_path / "data")
    assert [s.name for s in source.samples] == ["cat/1.png", "cat/gone.png", "dog/2.png"]
    with pytest.raises(BadImage, match=r"cat/gone\.png: No such file"):
        read_image(source.samples[1], 3)


def sentence(spec: str | Path, **options: bool) -> str:
    with pytest.raises(VitrailError) as caught:
        open_source(spec, **options)
    return str(caught.value)


def test_folders_that_are_no_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "empty").mkdir()
    assert "is empty: give each class a folder" in sentence(tmp_path / "empty")
    (tmp_path / "texts/cat").mkdir(parents=True)
    (tmp_path / "texts/cat/a.txt").write_text("a")
    assert "no images in" in sentence(tmp_path / "texts")
    assert "1 other files, such as" in sentence(tmp_path / "texts")
    assert "no images in" in sentence(tmp_path / "texts", labelled=False)
    pictures(tmp_path, "flat/1.png", "flat/2.png", "case/Cat/1.png", "case/cat/2.png")
    assert "holds 2 images but no class folders" in sentence(tmp_path / "flat")
    assert "classes Cat and cat" in sentence(tmp_path / "case")
    pictures(tmp_path, "mixed/train/cat/1.png", "mixed/extra/1.png")
    assert "has the split train and also extra" in sentence(tmp_path / "mixed")
    assert f"did you mean {tmp_path}/flat?" in sentence(tmp_path / "falt")
    assert "nor does" in sentence(tmp_path / "no/such/place")
    assert "is one image" in sentence(tmp_path / "flat/1.png")

    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folder_source.os, "scandir", refuse)
    assert "case may not be read" in sentence(tmp_path / "case")


def test_names_that_exist_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert "did you mean digits?" in sentence("digit")
    assert "did you mean cifar10?" in sentence("torchvision:cifar1")


# Without labels


def test_images_without_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pictures(tmp_path, "a/1.png", "a/b/2.png", "a/notes.png/3.png")
    source = open_source(tmp_path / "a", labelled=False)
    assert [s.name for s in source.samples] == [f"{tmp_path}/a/{n}" for n in ("1.png", "b/2.png", "notes.png/3.png")]
    assert {s.labels for s in source.samples} == {()}
    assert len(open_source(tmp_path / "a/1.png", labelled=False).samples) == 1
    monkeypatch.chdir(tmp_path)
    assert [s.name for s in open_source("a/**/*.png", labelled=False).samples] == [
        "a/1.png",
        "a/b/2.png",
        "a/notes.png/3.png",
    ]
    assert "quote the pattern" in sentence("a/*.jpg", labelled=False)
    assert "images alone have no labels" in sentence("a/*.png")


# Tables


def table(root: Path, text: str, encoding: str = "utf-8") -> Path:
    pictures(root, "a.png", "b.png", "sub dir/ç.png")
    path = root / "labels.csv"
    path.write_text(text, encoding=encoding)
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(("path", "label"), [("path", "label"), ("Filename", "Class"), ("image", "target")])
def test_a_table(tmp_path: Path, separator: str, path: str, label: str):
    rows = [
        (path, label, "split"),
        ("a.png", "10", "train"),
        ("b.png", "2", "validation"),
        ("sub dir/ç.png", "2", "test"),
    ]
    source = open_source(table(tmp_path, "\n".join(separator.join(row) for row in rows), "utf-8-sig"))
    assert source.class_names == ("2", "10")
    assert listed(source) == [("a.png", "10", "train"), ("b.png", "2", "val"), ("sub dir/ç.png", "2", "test")]
    assert source.task == CLASSIFICATION
    assert read_image(source.samples[2], 1).shape == (1, 6, 5)


def test_several_labels_in_a_cell(tmp_path: Path):
    source = open_source(table(tmp_path, "path,labels\na.png,dog|cat\nb.png,cat;cow\nsub dir/ç.png,cow\n"))
    assert (source.task, source.class_names) == (MULTI_LABEL, ("cat", "cow", "dog"))
    assert [s.labels for s in source.samples] == [(0, 2), (0, 1), (1,)]


def test_a_task_as_text(tmp_path: Path):
    listing = table(tmp_path, "path,age\na.png,7\nb.png,8\nsub dir/ç.png,9\n")
    assert open_source(listing, task="regression:level=0.8").task == TaskSpec.of("regression", level=0.8)
    with pytest.raises(VitrailError, match="no labels for task detektion; did you mean detection"):
        open_source("scenes", task="detektion")


def test_columns_of_zeros_and_ones(tmp_path: Path):
    source = open_source(table(tmp_path, "path,Zebra,ant,age\na.png,1,1,7\nb.png,0,0,8\nsub dir/ç.png,0,1,9\n"))
    assert (source.task, source.class_names) == (MULTI_LABEL, ("Zebra", "ant"))
    assert [s.labels for s in source.samples] == [(0, 1), (), (1,)]


def test_rows_that_cannot_be_used_are_listed(tmp_path: Path):
    lines = ["path,label,split", "a.png,x,train", "nowhere.png,x,train", "b.png,,train", ",x,train"]
    source = open_source(table(tmp_path, "\n".join([*lines, "b.png,x,later", "b.png,x"])))
    assert [s.name for s in source.samples] == ["a.png"]
    assert [(bad.name, bad.reason) for bad in source.bad] == [
        ("nowhere.png", "no such file (line 3)"),
        ("b.png", "no label (line 4)"),
        ("line 5", "no path (line 5)"),
        ("b.png", "split 'later' is none of train, val, test (line 6)"),
        ("b.png", "2 cells, where the header has 3 (line 7)"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows"),
        ("path,label\n", "has no rows"),
        ("name,label\na.png,x\n", "no path column among name, label"),
        ("path,species\na.png,x\n", "no label column among path, species"),
        ("path,label\nx.png,x\ny.png,y\n", "none of the 2 rows .* x.png: no such file"),
        ("path,label\na.png,Cat\nb.png,cat\n", "Cat and cat"),
        ('path,label\n"a.png,x\n', "is not a CSV"),
    ],
)
def test_tables_that_are_no_source(tmp_path: Path, text: str, message: str):
    with pytest.raises(VitrailError, match=message):
        open_source(table(tmp_path, text))


def test_a_table_in_another_encoding(tmp_path: Path):
    assert "is not UTF-8" in sentence(table(tmp_path, "path,label\na.png,été\n", "latin-1"))


def test_a_table_without_labels(tmp_path: Path):
    source = open_source(table(tmp_path, "path\na.png\nb.png\n"), labelled=False)
    assert [s.labels for s in source.samples] == [(), ()]


# Shards


def shard(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.name.endswith(("gz", "gz.tar")) else "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((4, 4), seed, np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VITRAIL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tgz", "gz.tar"])
def test_a_shard(tmp_path: Path, cache: Path, suffix: str):
    members = {
        "k1.png": png(1),
        "k1.cls": b"10\n",
        "k2.cls": b"2",
        "k2.png": png(2),
        "d/k1.png": png(3),
        "d/k1.json": b"",
    }
    members["d/k1.json"] = json.dumps({"label": "2"}).encode()
    source = open_source(shard(tmp_path / f"s.{suffix}", members))
    assert source.class_names == ("2", "10")
    assert listed(source) == [
        (f"s.{suffix}/{k}", label, None) for k, label in (("k1", "10"), ("k2", "2"), ("d/k1", "2"))
    ]
    assert [int(read_image(s, 1).max()) for s in source.samples] == [1, 2, 3]
    assert len(list(cache.glob("shards/*.tar"))) == ("gz" in suffix)


def test_shards_with_splits_and_listed_classes(tmp_path: Path):
    for number, part in enumerate(("train-000", "train-001", "test-000")):
        shard(
            tmp_path / f"birds-{part}.tar",
            {f"{number}.jpg": png(number), f"{number}.cls": str(number % 2).encode()},
        )
    (tmp_path / "classes.txt").write_text("wren\nowl\n")
    source = open_source(tmp_path)
    assert source.class_names == ("wren", "owl")
    assert sorted((s.split, s.labels) for s in source.samples) == [
        ("test", (0,)),
        ("train", (0,)),
        ("train", (1,)),
    ]
    assert len(open_source(tmp_path / "birds-train-*.tar").samples) == 2
    assert len(open_source(str(tmp_path / "*.tar"), labelled=False).samples) == 3


def test_what_a_shard_lacks_is_listed(tmp_path: Path):
    members = {
        "a.png": png(1),
        "a.cls": b"x",
        "b.png": png(2),
        "c.cls": b"x",
        "readme.txt": b"hello",
        "._a.png": b"",
    }
    source = open_source(shard(tmp_path / "s.tar", members))
    assert [(bad.name, bad.reason) for bad in source.bad] == [
        ("s.tar/b", "no label"),
        ("s.tar/c", "a label without an image"),
    ]


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_damaged_shards(tmp_path: Path, cache: Path, suffix: str):
    noise = np.random.default_rng(0).bytes(40_000)
    members = {"a.png": png(1), "a.cls": b"x", "b.cls": b"x", "b.png": noise}
    whole = shard(tmp_path / f"s.{suffix}", members).read_bytes()
    (tmp_path / f"s.{suffix}").write_bytes(whole[: len(whole) // 2])
    shard(tmp_path / "good.tar", {"c.png": png(2), "c.cls": b"y"})
    source = open_source(tmp_path)
    assert any(bad.name == f"s.{suffix}" and "damaged archive" in bad.reason for bad in source.bad)
    assert "good.tar/c" in [s.name for s in source.samples]
    (tmp_path / "s.tar").write_bytes(b"no archive")
    assert "no labelled images in" in sentence(tmp_path / "s.tar")


def test_a_shard_without_images(tmp_path: Path):
    assert "no labelled images in" in sentence(shard(tmp_path / "s.tar", {"a.txt": b"x"}))


# Names


def test_digits():
    from sklearn.datasets import load_digits

    source = open_source("digits")
    bunch = load_digits()
    assert (len(source.samples), source.class_names) == (1797, tuple("0123456789"))
    assert [s.labels[0] for s in source.samples] == bunch.target.tolist()
    image = read_image(source.samples[17], 1)
    assert image.dtype == torch.uint8
    torch.testing.assert_close(image[0] / 255 * 16, torch.from_numpy(bunch.images[17]).float(), atol=0.04, rtol=0)
    assert {s.labels for s in open_source("digits", labelled=False).samples} == {()}


def idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape) + values.tobytes()


@pytest.mark.parametrize("name", ["mnist", "torchvision:MNIST"])
def test_a_torchvision_set_from_a_local_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8)
    for part, rows in (("train", slice(0, 6)), ("t10k", slice(6, 10))):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(images[rows]))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(10, dtype=np.uint8)[rows]))
    monkeypatch.setenv("VITRAIL_DATA", str(tmp_path))
    source = open_source(name)
    assert [s.split for s in source.samples] == ["train"] * 6 + ["test"] * 4
    assert [s.labels for s in source.samples] == [(i,) for i in range(10)]
    assert source.samples[7].name == "mnist/test/1"
    assert torch.equal(read_image(source.samples[7], 1)[0], torch.from_numpy(images[7]))


def test_a_torchvision_set_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import urllib.request

    def offline(*args: object, **options: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    monkeypatch.setenv("VITRAIL_DATA", str(tmp_path / "store"))
    message = sentence("cifar10")
    assert "cifar10 is not in" in message
    assert "set VITRAIL_DATA" in message


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["/a/cat/1.jpg", "/a/dog/2.jpg"], ["1.jpg", "2.jpg"]),
        (["/a/b/cat/1.jpg", "/a/b/dog/1.jpg"], ["cat/1.jpg", "dog/1.jpg"]),
        (["1.jpg", "/a/1.jpg"], ["1.jpg", "/a/1.jpg"]),
        (["a/1.jpg", "a/1.jpg"], ["a/1.jpg", "a/1.jpg"]),
        (["digits 3"], ["digits 3"]),
        ([], []),
    ],
)
def test_pictures_are_called_by_what_tells_them_apart(names: list[str], short: list[str]) -> None:
    assert short_names(names) == short
