"""Predictions: the same as the model by hand, in order, whatever the batch size, bad files included."""

import csv
import io
import json

import pytest
import torch
from pyarrow import parquet

from tests.evaluation.small_checkpoint import CLASSES, tiny_checkpoint, write_picture
from vitrail.checkpoint.contract import save
from vitrail.data.open import open_source, read_image
from vitrail.errors import VitrailError
from vitrail.evaluation.logits import compute_logits
from vitrail.evaluation.predict import Prediction, at_least_one, predict
from vitrail.evaluation.prediction_table import write_table


@pytest.fixture
def folder(tmp_path):
    for index in range(7):
        write_picture(tmp_path / "in" / f"{index}.png", seed=index)
    (tmp_path / "in" / "3.png").write_bytes(b"no picture")
    return tmp_path / "in"


def test_logits_are_the_models_own_in_order_at_any_batch_size(folder):
    checkpoint = tiny_checkpoint()
    samples = open_source(folder, labelled=False).samples
    for batch_size in (1, 2, 3, 32):
        outcomes = list(compute_logits(checkpoint, samples, batch_size=batch_size, device="cpu", precision="float32"))
        assert [outcome.sample for outcome in outcomes] == list(samples)
        for outcome in outcomes:
            if outcome.sample.name.endswith("3.png"):
                assert outcome.logits is None
                assert outcome.error
                continue
            pixels = checkpoint.preprocess(read_image(outcome.sample, 3))
            with torch.inference_mode():
                expected = checkpoint.model(pixels[None])[0]
            torch.testing.assert_close(outcome.logits, expected, rtol=1e-4, atol=1e-5)


def test_probabilities_are_of_the_softmax_and_sorted(folder):
    checkpoint = tiny_checkpoint()
    first = next(predict(checkpoint, folder, top_k=5))
    names, chances = zip(*first.classes, strict=True)
    assert set(names) == set(CLASSES)
    assert sum(chances) == pytest.approx(1)
    assert list(chances) == sorted(chances, reverse=True)


def test_several_labels_have_a_sigmoid_each(folder):
    checkpoint = tiny_checkpoint(task="multi")
    sample = open_source(folder, labelled=False).samples[0]
    (outcome,) = compute_logits(checkpoint, [sample])
    found = dict(next(predict(checkpoint, folder)).classes)
    expected = outcome.logits.sigmoid().tolist()
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


def test_not_one_good_picture_is_an_error_after_the_table(folder):
    rows = at_least_one(predict(tiny_checkpoint(), folder / "3.png"))
    assert next(rows).error
    with pytest.raises(VitrailError, match="none of the pictures could be read"):
        next(rows)


def test_limit_stops_early(folder):
    assert len(list(predict(tiny_checkpoint(), folder, limit=2))) == 2


ROWS = [
    Prediction("a, b.png", (("cat", 0.75), ("dog", 0.25))),
    Prediction("größe \udcff.png", error='truncated "file"'),
]


def test_csv_on_standard_output(capsys):
    write_table(ROWS[:1], 2)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows == [
        {"path": "a, b.png", "class": "cat", "probability": "0.750000", "class_2": "dog",
         "probability_2": "0.250000", "error": ""}
    ]  # fmt: skip


def test_csv_file_keeps_odd_names(tmp_path):
    write_table(iter(ROWS), 2, "csv", tmp_path / "t.csv")
    with open(tmp_path / "t.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    assert (rows[1]["path"], rows[1]["class"], rows[1]["error"]) == (ROWS[1].path, "", 'truncated "file"')


def test_json_lines(tmp_path):
    write_table(ROWS, 2, "jsonl", tmp_path / "t.jsonl")
    text = (tmp_path / "t.jsonl").read_text(encoding="utf-8", errors="surrogateescape")
    rows = [json.loads(line) for line in text.splitlines()]
    classes = [{"class": "cat", "probability": 0.75}, {"class": "dog", "probability": 0.25}]
    assert rows[0] == {"path": "a, b.png", "classes": classes, "error": None}
    assert rows[1]["error"] == 'truncated "file"'


def test_parquet(tmp_path):
    write_table(ROWS, 3, "parquet", tmp_path / "t.parquet")
    table = parquet.read_table(tmp_path / "t.parquet")
    assert table.column_names == ["path", "class", "probability", "class_2", "probability_2", "class_3",
                                  "probability_3", "error"]  # fmt: skip
    assert table["probability_2"].to_pylist() == [0.25, None]
    with pytest.raises(VitrailError, match="--out "):
        write_table(ROWS, 3, "parquet")


def test_a_failure_leaves_the_old_table(tmp_path):
    target = tmp_path / "t.csv"
    target.write_text("old")

    def failing():
        yield ROWS[0]
        raise VitrailError("stop")

    with pytest.raises(VitrailError, match="stop"):
        write_table(failing(), 2, "csv", target)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
