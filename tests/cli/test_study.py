"""`vitrail study` as a person uses it."""

import csv

import pytest

from vitrail.checkpoint.contract import save
from vitrail.cli.main import main

from ..evaluation.small_checkpoint import tiny_checkpoint, write_classes


@pytest.fixture
def files(tmp_path):
    save(tiny_checkpoint(), tmp_path / "model")
    return tmp_path / "model", write_classes(tmp_path / "images", each=3)


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return end.value.code or 0, printed.out, printed.err


def test_robustness_prints_a_table_and_writes_csv(capsys, files, tmp_path):
    model, images = files
    out = tmp_path / "found.csv"
    asked = ("--tests", "sketch", "shift", "--limit", "6", "-o", out)
    status, printed, err = call(capsys, "study", "robustness", model, images, "--against", model, *asked)
    assert status == 0, err
    assert "clean accuracy" in printed
    assert "sketch sobel" in printed
    assert "6 of 9 images" in err
    with out.open() as file:
        assert len(list(csv.reader(file))) == 1 + 1 + 2 + 5


def test_all_images_can_be_asked_for(capsys, files):
    model, images = files
    for limit, words in (("all", "9 images: all of"), ("4", "4 of 9 images")):
        asked = ("--tests", "sketch", "--limit", limit, "-o", images.parent / "found.csv")
        assert words in call(capsys, "study", "robustness", model, images, *asked)[2]
    assert "9 of 9 images: all of" in call(capsys, "study", "layers", model, images, "--limit", "all")[2]


def test_layers_prints_a_row_for_each_block(capsys, files):
    status, printed, err = call(capsys, "study", "layers", *files)
    assert status == 0, err
    assert printed.splitlines()[0].split()[:2] == ["layer", "width"]
    assert [line.split()[0] for line in printed.splitlines()[1:]] == ["blocks.0", "blocks.1"]


def test_mistakes_are_sentences(capsys, files):
    model, images = files
    assert "1 to 5" in call(capsys, "study", "robustness", model, images, "--severities", "7")[2]
    assert call(capsys, "study", "robustness", model, images / "none")[0] == 1
    assert call(capsys, "study", "robustnes", model, images)[0] == 2
    (images / "some.csv").mkdir()
    for output, words in (
        (images / "some.csv", "is a folder"),
        (images / "cat" / "0.png" / "a.csv", "0.png is a file: name another folder"),
    ):
        assert words in call(capsys, "study", "robustness", model, images, "-o", output)[2]
    assert "there is no file or folder" in call(capsys, "study", "robustness", model, images, "--against", "none")[2]
    assert call(capsys, "study", "robustness", model, images, "--limit", "some")[0] == 2
    for study in ("robustness", "layers", "probe", "attribution"):
        for asked, words in ((("--limit", "1"), "limit 1 is too few"), (("--batch-size", "0"), "batch size 0 is not")):
            status, _, err = call(capsys, "study", study, "no model", images, *asked)
            assert (status, words in err) == (1, True), "options are checked before a model is loaded"


def test_anatomy_as_a_page(capsys, files, tmp_path):
    model, images = files
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    page = tmp_path / "new" / "anatomy.html"
    status, printed, err = call(capsys, "study", "anatomy", model, images, broken, "--limit", "2", "-o", page)
    assert (status, printed.strip()) == (0, str(page))
    assert "left out" in err
    assert "Attention distance of each head" in page.read_text()
    assert "0 blocks are too few" in call(capsys, "study", "anatomy", model, images, "--blocks", "0")[2]
    status, _, err = call(capsys, "study", "anatomy", model, broken)
    assert status == 1
    assert "none of the images could be read" in err


@pytest.mark.parametrize(
    ("study", "words"),
    [
        (["robustness", "--tests", "corruption", "--severities", "1"], "Accuracy under corruptions"),
        (["layers"], "Accuracy by layer"),
        (["probe"], "linear"),
        (["attribution", "--methods", "rollout"], "rollout"),
        (["anatomy", "--blocks", "1"], "Attention distance"),
    ],
)
def test_every_study_writes_a_table_and_a_page_into_a_folder(study, words, capsys, files, tmp_path, monkeypatch):
    monkeypatch.setenv("VITRAIL_CACHE", str(tmp_path / "cache"))
    name, *options = study
    out = tmp_path / "new" / "found"
    status, printed, err = call(capsys, "study", name, *files, *options, "--device", "cpu", "-o", out)
    assert status == 0, err
    assert printed
    assert sorted(path.name for path in out.iterdir()) == [f"{name}.csv", f"{name}.html"]
    assert words in (out / f"{name}.html").read_text()
    with (out / f"{name}.csv").open() as file:
        rows = list(csv.reader(file))
    assert len(rows) > 1
    assert len({len(row) for row in rows}) == 1
