"""Bad files in every command: all of them are listed, and damaged ones are read if the user wants it."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vitrail
from tests.evaluation.small_checkpoint import tiny_checkpoint, write_classes
from vitrail.checkpoint.contract import save
from vitrail.cli.main import main
from vitrail.cli.parser import parse
from vitrail.cli.pretrain import Pretrain
from vitrail.cli.train import Train
from vitrail.data.bad_files import BadFiles

MANY = 12
"""More files than a message names."""


def call(capsys, *arguments):
    """(exit status, standard output, standard error) of a command."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return end.value.code or 0, printed.out, printed.err


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A model, a source with good and many bad files, and a folder of bad ones alone; the current folder is empty."""
    save(tiny_checkpoint(), tmp_path / "model")
    source = write_classes(tmp_path / "flowers", each=3)
    for place in (source / "cat", tmp_path / "bad"):
        place.mkdir(exist_ok=True)
        for number in range(MANY):
            (place / f"broken {number:02}.png").write_bytes(b"no image")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "model", source, tmp_path / "bad"


def listed(name: str) -> list[str]:
    """Names of the files in a table of the current folder."""
    with Path(name).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert all(row["reason"] for row in rows)
    return [Path(row["path"]).name for row in rows]


EVERY = [f"broken {number:02}.png" for number in range(MANY)]
LABELLED = {
    "eval": ("eval",),
    "robustness": ("study", "robustness", "--tests", "sketch", "-o", "found.csv"),
    "layers": ("study", "layers"),
    "attribution": ("study", "attribution", "--methods", "rollout", "-o", "found.csv"),
}


@pytest.mark.parametrize("command", LABELLED)
def test_a_command_with_labels_lists_all_bad_files_and_can_leave_them_out(capsys, files, command):
    model, source, _ = files
    asked = (*LABELLED[command], model, source)
    status, out, err = call(capsys, *asked)
    assert (status, out) == (1, "")
    assert "12 bad files in" in err
    assert "--skip-bad" in err
    assert "flowers.bad_files.csv" in err
    assert listed("flowers.bad_files.csv") == EVERY
    Path("flowers.bad_files.csv").unlink()
    status, _, err = call(capsys, *asked, "--skip-bad")
    assert status == 0, err
    assert "left out 12 bad files" in err
    assert listed("flowers.bad_files.csv") == EVERY


def test_a_few_bad_files_need_no_table(capsys, files):
    model, source, _ = files
    for number in range(3, MANY):
        (source / "cat" / f"broken {number:02}.png").unlink()
    status, _, err = call(capsys, "eval", model, source)
    assert status == 1
    assert all(name in err for name in EVERY[:3])
    assert call(capsys, "eval", model, source, "--skip-bad")[0] == 0
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    "command", [("predict",), ("embed", "-o", "v.npz"), ("explain", "-o", "seen"), ("study", "anatomy", "-o", "a.html")]
)
def test_if_no_image_can_be_read_all_are_listed(capsys, files, command):
    model, _, bad = files
    status, _, err = call(capsys, *command, model, bad, *(("--limit", "20") if "anatomy" in command else ()))
    assert status == 1
    assert "none of the images could be read" in err
    assert listed("images.bad_files.csv") == EVERY
    assert not any(Path(name).exists() for name in ("v.npz", "seen", "a.html"))


def test_a_folder_that_cannot_be_written_does_not_hide_the_reason(capsys, files, monkeypatch):
    model, source, _ = files

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("vitrail.data.bad_files.write_csv", full)
    status, _, err = call(capsys, "eval", model, source)
    assert status == 1
    assert "12 bad files" in err
    assert "could not be written: no space left" in err
    status, out, err = call(capsys, "eval", model, source, "--skip-bad")
    assert status == 0
    assert "accuracy" in out
    assert "could not be written: no space left" in err


def test_python_has_all_of_them(files):
    model, source, _ = files
    with pytest.raises(BadFiles, match="12 bad files") as raised:
        vitrail.evaluate(model, source)
    assert [Path(file.name).name for file in raised.value.bad] == EVERY
    found = vitrail.evaluate(model, source, skip_bad=True)
    assert found.note.endswith("12 bad files left out")
    assert [Path(file.name).name for file in found.bad] == EVERY
    assert [Path(row["name"]).name for row in found.to_dict()["bad"]] == EVERY


def test_images_that_do_not_fit_the_model_are_bad_files_of_a_study_too(capsys, files):
    model, source, _ = files
    for number in range(MANY):
        (source / "cat" / EVERY[number]).unlink()
    np.save(source / "dog" / "five bands.npy", np.zeros((8, 8, 5), np.uint8))
    for command in LABELLED.values():
        status, _, err = call(capsys, *command, model, source)
        assert status == 1
        assert "five bands.npy: " in err
        status, _, err = call(capsys, *command, model, source, "--skip-bad")
        assert status == 0, err
        assert "left out 1 bad file" in err


ENOUGH = (16, 16)
"""Twice the size of the model: a larger JPEG is decoded at a fraction."""


@pytest.fixture
def damaged(tmp_path):
    """A model, a JPEG without its middle, and a TIFF without its end."""
    save(tiny_checkpoint(), tmp_path / "model")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    jpeg, tiff = io.BytesIO(), io.BytesIO()
    noise.save(jpeg, "JPEG", quality=90)
    noise.save(tiff, "TIFF", compression="tiff_lzw")
    whole, folder = jpeg.getvalue(), tmp_path / "photos" / "cat"
    folder.mkdir(parents=True)
    (folder / "hole.jpg").write_bytes(whole[: len(whole) // 3] + whole[2 * len(whole) // 3 :])
    (folder / "short.tif").write_bytes(tiff.getvalue()[: len(tiff.getvalue()) // 2])
    return tmp_path / "model", tmp_path / "photos"


def test_damaged_files_are_read_without_strictness_if_a_decoder_reads_them(capsys, damaged):
    """The oracle is Pillow, which fills the missing part of a JPEG; a truncated TIFF has no pixels to read."""
    model, photos = damaged
    run = {"device": "cpu", "precision": "float32"}
    strict = {Path(row.path).name: row for row in vitrail.predict(model, photos, **run)}
    assert "damaged" in strict["hole.jpg"].error
    assert strict["short.tif"].error
    lenient = {Path(row.path).name: row for row in vitrail.predict(model, photos, strict=False, **run)}
    with Image.open(photos / "cat" / "hole.jpg") as image:
        image.draft("RGB", ENOUGH)
        (expected,) = vitrail.predict(model, image.convert("RGB"), **run)
    assert lenient["hole.jpg"].classes == expected.classes
    assert lenient["short.tif"].error == strict["short.tif"].error
    rows = csv.DictReader(call(capsys, "predict", model, photos, "--no-strict", "--device", "cpu")[1].splitlines())
    assert {Path(row["path"]).name: not row["error"] for row in rows} == {"hole.jpg": True, "short.tif": False}


def test_every_command_has_the_same_strictness(capsys, damaged, tmp_path, monkeypatch):
    model, photos = damaged
    (photos / "cat" / "short.tif").unlink()
    write_classes(photos, each=2)
    monkeypatch.chdir(tmp_path)
    for command in LABELLED.values():
        status, _, err = call(capsys, *command, model, photos)
        assert status == 1, command
        assert "hole.jpg: damaged" in err
        assert "--no-strict" in err
        status, _, err = call(capsys, *command, model, photos, "--no-strict")
        assert status == 0, err


def test_training_without_strictness_is_a_field_of_the_recipe():
    for command in (Train, Pretrain):
        assert parse(command, ["photos"]).changes()["strict"] is None, "a recipe may have it already"
        assert parse(command, ["photos", "--no-strict"]).changes()["strict"] is False


def test_embeddings_have_the_same_strictness_and_folders_remember_it(damaged, tmp_path):
    model, photos = damaged
    given = {"device": "cpu", "precision": "float32"}
    found = vitrail.embed(model, photos, strict=False, **given)
    rows = dict(zip((Path(path).name for path in found.paths), found.vectors, strict=True))
    with Image.open(photos / "cat" / "hole.jpg") as image:
        image.draft("RGB", ENOUGH)
        checkpoint = vitrail.load(model)
        pixels = checkpoint.preprocess.batch([image.convert("RGB")])
    with torch.inference_mode():
        expected = checkpoint.model.forward_all(pixels).embedding[0]
    torch.testing.assert_close(rows["hole.jpg"], expected, rtol=1e-5, atol=1e-6)
    assert rows["short.tif"].isnan().all()
    with pytest.raises(BadFiles, match="none of the images"):
        vitrail.embed(model, photos, **given)
    write_classes(photos, each=1)
    written = [
        main_status("embed", model, photos, "-o", tmp_path / "parts", "--device", "cpu", *more)
        for more in (("--no-strict",), (), ("--no-strict",))
    ]
    assert written == [0, 1, 0]


def main_status(*words: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    return int(end.value.code or 0)


def test_explain_draws_damaged_files_without_strictness(capsys, damaged, tmp_path):
    model, photos = damaged
    status, out, err = call(capsys, "explain", model, photos, "--no-strict", "-o", tmp_path / "seen")
    assert status == 0, err
    assert [Path(line).name for line in out.splitlines()] == ["hole.png", "explain.html"]
    assert "left out" in err
