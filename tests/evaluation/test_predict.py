"""Predictions: the same as the model by hand, in order, whatever the batch size, unreadable files included."""

import csv
import gc
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from tests.evaluation.small_checkpoint import CLASSES, tiny_checkpoint, write_classes, write_image
from vitrail.checkpoint.contract import save
from vitrail.data.open import open_source, read_image
from vitrail.engines.predictor import make_predictor
from vitrail.errors import VitrailError
from vitrail.evaluation.predict import at_least_one, predict
from vitrail.evaluation.prediction_table import Layout, table_format, write_table
from vitrail.evaluation.stream import stream
from vitrail.tasks.classification import Classification, ClassPrediction


@pytest.fixture
def folder(tmp_path):
    for index in range(7):
        write_image(tmp_path / "in" / f"{index}.png", seed=index)
    (tmp_path / "in" / "3.png").write_bytes(b"no image")
    return tmp_path / "in"


@pytest.mark.parametrize("batch_size", [1, 2, 3, 32])
def test_outputs_are_the_models_own_in_order_at_any_batch_size(folder, batch_size):
    checkpoint = tiny_checkpoint()
    samples = open_source(folder, labelled=False).samples
    predictor = make_predictor(checkpoint, batch_size=batch_size, device="cpu", precision="float32")
    parts = list(stream(predictor, samples))
    assert [sample for part in parts for sample in part.samples] == list(samples)
    assert [error is not None for part in parts for error in part.errors] == [index == 3 for index in range(7)]
    for part in parts:
        if part.output is None:
            assert part.readable == []
            continue
        pixels = torch.stack([checkpoint.preprocess(read_image(sample, 3)) for sample in part.readable])
        with torch.inference_mode():
            torch.testing.assert_close(part.output, checkpoint.model(pixels), rtol=1e-4, atol=1e-5)
    sizes = [len(part.readable) for part in parts if part.output is not None]
    assert sizes == [batch_size] * (6 // batch_size) + [6 % batch_size] * bool(6 % batch_size)


def test_a_long_run_of_unreadable_files_does_not_gather_in_memory(tmp_path):
    for index in range(40):
        (tmp_path / f"{index}.png").write_bytes(b"no image")
    write_image(tmp_path / "99.png", seed=0)
    samples = open_source(tmp_path, labelled=False).samples
    parts = list(stream(make_predictor(tiny_checkpoint(), batch_size=2), samples))
    assert [len(part.samples) for part in parts] == [16, 16, 9]
    assert [part.output is None for part in parts] == [True, True, False]


def test_probabilities_are_of_the_softmax_and_sorted(folder):
    checkpoint = tiny_checkpoint()
    first = next(predict(checkpoint, folder, top_k=5))
    names, probabilities = zip(*first.classes, strict=True)
    assert set(names) == set(CLASSES)
    assert sum(probabilities) == pytest.approx(1)
    assert list(probabilities) == sorted(probabilities, reverse=True)


def test_several_labels_have_a_sigmoid_each(folder):
    checkpoint = tiny_checkpoint(task="multi")
    sample = open_source(folder, labelled=False).samples[0]
    with torch.inference_mode():
        logits = checkpoint.model(checkpoint.preprocess(read_image(sample, 3))[None])[0]
    found = dict(next(predict(checkpoint, folder, device="cpu", precision="float32")).classes)
    expected = logits.sigmoid().tolist()
    assert [found[name] for name in CLASSES] == pytest.approx(expected)


def test_files_folders_and_a_missing_one_together(folder, tmp_path):
    save(tiny_checkpoint(), tmp_path / "checkpoint")
    found = list(predict(tmp_path / "checkpoint", [folder, folder / "1.png", tmp_path / "gone.png"], top_k=1))
    assert len(found) == 9
    errors = [row.path for row in found if row.error]
    assert [path.rsplit("/")[-1] for path in errors] == ["3.png", "gone.png"]
    assert all(len(row.classes) == 1 for row in found if not row.error)


def test_nothing_to_predict_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(VitrailError):
        predict(tiny_checkpoint(), tmp_path / "empty")
    with pytest.raises(VitrailError, match="does not exist"):
        predict(tiny_checkpoint(), tmp_path / "gone.png")
    with pytest.raises(VitrailError, match="top_k 0"):
        predict(tiny_checkpoint(), tmp_path, top_k=0)
    with pytest.raises(VitrailError, match="limit 0"):
        predict(tiny_checkpoint(), tmp_path, limit=0)


def test_not_one_good_image_is_an_error_after_the_table(folder):
    rows = at_least_one(predict(tiny_checkpoint(), folder / "3.png"))
    assert next(rows).error
    with pytest.raises(VitrailError, match="none of the images could be read"):
        next(rows)


def test_images_in_memory_are_predicted_as_their_files(folder):
    checkpoint, paths = tiny_checkpoint(), [folder / "0.png", folder / "1.png"]
    run = {"device": "cpu", "precision": "float32"}
    expected = [row.classes for row in predict(checkpoint, paths, **run)]
    opened = [Image.open(path) for path in paths]
    assert [row.classes for row in predict(checkpoint, opened, **run)] == expected
    assert [row.classes for row in predict(checkpoint, [np.asarray(image) for image in opened], **run)] == expected
    (only,) = predict(checkpoint, opened[0], top_k=1, **run)
    assert (only.path, only.classes[0][0]) == ("", expected[0][0][0])
    assert len(list(predict(checkpoint, opened, limit=1, **run))) == 1
    with pytest.raises(VitrailError, match="predict them in two calls"):
        predict(checkpoint, [opened[0], paths[1]])


def test_limit_stops_early(folder):
    assert len(list(predict(tiny_checkpoint(), folder, limit=2))) == 2


def layout(top_k):
    return Layout(Classification(), CLASSES, top_k)


ROWS = [
    ClassPrediction(path="a, b.png", classes=(("cat", 0.75), ("dog", 0.25))),
    ClassPrediction(path="größe \udcff.png", error='truncated "file"'),
]


def test_csv_on_standard_output(capsys):
    write_table(ROWS[:1], layout(2))
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows == [
        {"path": "a, b.png", "class": "cat", "probability": "0.75", "class_2": "dog",
         "probability_2": "0.25", "error": ""}
    ]  # fmt: skip


def test_csv_file_keeps_odd_names(tmp_path):
    write_table(iter(ROWS), layout(2), "csv", tmp_path / "t.csv")
    with open(tmp_path / "t.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    assert (rows[1]["path"], rows[1]["class"], rows[1]["error"]) == (ROWS[1].path, "", 'truncated "file"')


def test_json_lines(tmp_path):
    write_table(ROWS, layout(2), "jsonl", tmp_path / "t.jsonl")
    text = (tmp_path / "t.jsonl").read_text(encoding="utf-8", errors="surrogateescape")
    rows = [json.loads(line) for line in text.splitlines()]
    classes = [{"class": "cat", "probability": 0.75}, {"class": "dog", "probability": 0.25}]
    assert rows[0] == {"path": "a, b.png", "classes": classes, "error": None}
    assert rows[1]["error"] == 'truncated "file"'


def test_parquet(tmp_path):
    write_table(ROWS, layout(3), "parquet", tmp_path / "t.parquet")
    table = parquet.read_table(tmp_path / "t.parquet")
    assert table.column_names == ["path", "class", "probability", "class_2", "probability_2", "class_3",
                                  "probability_3", "error"]  # fmt: skip
    assert table["probability_2"].to_pylist() == [0.25, None]
    with pytest.raises(VitrailError, match="--out"):
        write_table(ROWS, layout(3), "parquet")


def test_tsv_and_json(tmp_path):
    write_table(ROWS[:1], layout(1), None, tmp_path / "t.tsv")
    assert (tmp_path / "t.tsv").read_text().splitlines()[1].split("\t") == ["a, b.png", "cat", "0.75", ""]
    write_table(ROWS[:1] * 2, layout(2), None, tmp_path / "t.json")
    assert [row["path"] for row in json.loads((tmp_path / "t.json").read_text())] == ["a, b.png"] * 2
    write_table([], layout(2), None, tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text()) == []


def test_a_workbook_has_text_and_numbers_and_no_formulas(tmp_path):
    from openpyxl import load_workbook

    odd = ClassPrediction(path="=1+1", classes=(("cat\x07", 0.5), ("dog", 0.25)))
    write_table([*ROWS, odd], layout(2), None, tmp_path / "t.xlsx")
    header, first, second, third = load_workbook(tmp_path / "t.xlsx").active.iter_rows()
    assert [cell.value for cell in header] == ["path", "class", "probability", "class_2", "probability_2", "error"]
    assert [cell.value for cell in first] == ["a, b.png", "cat", 0.75, "dog", 0.25, None]
    assert second[5].value == 'truncated "file"'
    assert second[0].value == "größe �.png"
    assert [(cell.value, cell.data_type) for cell in third[:2]] == [("=1+1", "s"), ("cat�", "s")]


def test_a_workbook_on_a_full_disk_is_one_error(tmp_path, monkeypatch, capsys):
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    @contextmanager
    def full(path: Path, *, mode: str) -> Iterator[Full]:
        with Full() as file:
            yield file

    monkeypatch.setattr("vitrail.evaluation.prediction_table.complete_file", full)
    with pytest.raises(OSError, match="No space left"):
        write_table(ROWS, layout(2), None, tmp_path / "t.xlsx")
    gc.collect()
    assert capsys.readouterr().err == ""  # an archive that was left open complained when it was removed


def test_the_suffix_decides_and_an_unknown_one_is_refused(tmp_path):
    assert table_format(None, None) == "csv"
    assert table_format(None, tmp_path / "A.XLSX") == "xlsx"
    assert table_format("jsonl", tmp_path / "rows.txt") == "jsonl"
    for name in ("table.xls", "table", "table.csv.gz"):
        with pytest.raises(VitrailError, match=r"use one of \.csv, \.tsv, \.json, \.jsonl, \.parquet, \.xlsx"):
            table_format(None, tmp_path / name)
    with pytest.raises(VitrailError, match="leave out one of the two"):
        table_format("jsonl", tmp_path / "table.csv")
    with pytest.raises(VitrailError, match="xlsx is not text"):
        table_format("xlsx", None)


def test_folders_give_the_true_label(tmp_path):
    write_classes(tmp_path / "images", each=2)
    write_image(tmp_path / "images" / "unicorn" / "0.png", seed=9)
    write_image(tmp_path / "loose" / "0.png", seed=1)
    predictions = list(predict(tiny_checkpoint(), [tmp_path / "images", tmp_path / "loose"], top_k=1))
    labels = {Path(each.path).relative_to(tmp_path).parent.as_posix(): each.label for each in predictions}
    assert labels == {
        "images/cat": ("cat",),
        "images/dog": ("dog",),
        "images/fox": ("fox",),
        "images/unicorn": ("unicorn",),
        "loose": (),
    }
    table = Layout(Classification(), CLASSES, 1, labelled=True)
    write_table(predictions[:1], table, None, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().startswith("path,label,class,probability,error\n")
    # Folders that are no classes of the model are only folders.
    (tmp_path / "images" / "cat").rename(tmp_path / "2023")
    (tmp_path / "years").mkdir()
    (tmp_path / "2023").rename(tmp_path / "years" / "2023")
    assert {each.label for each in predict(tiny_checkpoint(), tmp_path / "years", top_k=1)} == {()}


def test_a_table_gives_the_true_label_of_the_rows_that_have_one(tmp_path):
    for index in range(3):
        write_image(tmp_path / f"{index}.png", seed=index)
    (tmp_path / "t.csv").write_text("path,label\n0.png,cat\n1.png,\n2.png,fox\n2.png,dog\n")
    labels = [each.label for each in predict(tiny_checkpoint(), tmp_path / "t.csv", top_k=1)]
    assert labels == [("cat",), (), (), ()], "an image with two labels has none for sure"


def test_a_failure_leaves_the_old_table(tmp_path):
    target = tmp_path / "t.csv"
    target.write_text("old")

    def failing():
        yield ROWS[0]
        raise VitrailError("stop")

    with pytest.raises(VitrailError, match="stop"):
        write_table(failing(), layout(2), "csv", target)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
