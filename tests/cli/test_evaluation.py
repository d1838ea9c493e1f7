"""predict, embed and eval as a person or a program uses them, for checkpoints of every task."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from pyarrow import parquet

from tests.evaluation.small_checkpoint import CLASSES, tiny_checkpoint, write_classes, write_image
from vitrail.checkpoint.contract import Checkpoint, save
from vitrail.cli.main import main
from vitrail.data.open import read_image
from vitrail.data.preprocess import Preprocess
from vitrail.data.samples import FileAt, Sample
from vitrail.models.registry import create_model
from vitrail.task_spec import EMBEDDING, TaskSpec

SIZES = {"image_size": 8, "patch_size": 4, "embed_dim": 16, "num_heads": 2, "depth": 2}
MEAN, SCALE = (40.0, 1.7), (10.0, 0.5)


def call(capsys, *arguments):
    """(exit status, standard output, standard error) of a command."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return end.value.code or 0, printed.out, printed.err


def checkpoint_of(task: TaskSpec, names: tuple[str, ...]) -> Checkpoint:
    model = create_model("vit_tiny_patch16_224", num_classes=len(names), task=task, **SIZES).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.4)
    return Checkpoint(model, names, Preprocess(image_size=(8, 8), crop=1.0), {})


@pytest.fixture
def numbers(tmp_path):
    """A regression checkpoint, a CSV of images with two numbers each, and the truths with the model's own numbers."""
    checkpoint = checkpoint_of(TaskSpec.of("regression", mean=MEAN, scale=SCALE), ("age", "height"))
    save(checkpoint, tmp_path / "model")
    truth = [(31.5, 1.62), (54.0, 1.8), (7.25, 1.1), (40.0, 1.75)]
    lines = ["path,height,age"]
    predicted = []
    for index, (age, height) in enumerate(truth):
        path = write_image(tmp_path / "images" / f"{index}.png", seed=index)
        lines.append(f"images/{index}.png,{height},{age}")
        image = read_image(Sample("", (), None, FileAt(str(path))), 3)
        with torch.inference_mode():
            output = checkpoint.model(checkpoint.preprocess(image)[None])[0].double()
        predicted.append(
            [mean + scale * value for mean, scale, value in zip(MEAN, SCALE, output.tolist(), strict=True)]
        )
    (tmp_path / "numbers.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "model", tmp_path / "numbers.csv", truth, predicted


def test_a_regression_is_predicted_in_its_own_units(capsys, numbers, tmp_path):
    model, table, truth, predicted = numbers
    run = ("--device", "cpu", "--precision", "float32")
    status, out, err = call(capsys, "predict", model, table, *run)
    assert status == 0, err
    rows = list(csv.DictReader(out.splitlines()))
    assert list(rows[0]) == ["path", "true_age", "true_height", "age", "height", "error"]
    assert [(float(row["true_age"]), float(row["true_height"])) for row in rows] == truth
    for row, expected in zip(rows, predicted, strict=True):
        assert [float(row["age"]), float(row["height"])] == pytest.approx(expected, rel=1e-4)
    status, out, _ = call(capsys, "predict", model, table, "--format", "jsonl", *run)
    first = json.loads(out.splitlines()[0])
    assert first["values"] == pytest.approx(dict(zip(("age", "height"), predicted[0], strict=True)), rel=1e-4)
    assert first["error"] is None
    written = tmp_path / "out.parquet"
    assert call(capsys, "predict", model, table, "--format", "parquet", "-o", written, *run)[0] == 0
    assert parquet.read_table(written)["age"].to_pylist() == pytest.approx([row[0] for row in predicted], rel=1e-4)


def test_a_regression_is_scored_by_columns_of_the_same_name(capsys, numbers):
    model, table, truth, predicted = numbers
    status, out, err = call(capsys, "eval", model, table, "--json", "--device", "cpu", "--precision", "float32")
    assert status == 0, err
    found = json.loads(out)
    assert found["count"] == 4
    for column, row in enumerate(found["per_value"]):
        gaps = [own[column] - right[column] for own, right in zip(predicted, truth, strict=True)]
        assert row["mean_absolute_error"] == pytest.approx(sum(map(abs, gaps)) / 4, rel=1e-4)
        assert row["root_mean_squared_error"] == pytest.approx(math.sqrt(sum(gap**2 for gap in gaps) / 4), rel=1e-4)
    status, out, _ = call(capsys, "eval", model, table)
    assert status == 0
    assert "mean absolute error" in out


def test_an_embedding_is_predicted_as_a_vector_and_not_scored(capsys, tmp_path):
    checkpoint = checkpoint_of(EMBEDDING, ())
    save(checkpoint, tmp_path / "model")
    source = write_classes(tmp_path / "images", each=2)
    status, out, err = call(capsys, "predict", tmp_path / "model", source)
    assert status == 0, err
    rows = list(csv.DictReader(out.splitlines()))
    assert list(rows[0]) == ["path", "vector", "error"]
    assert len(rows[0]["vector"].split()) == 16
    status, out, err = call(capsys, "eval", tmp_path / "model", source)
    assert (status, out) == (1, "")
    assert "outputs a vector, not classes" in err
    assert "vitrail train" in err
    for study in ("robustness", "layers"):
        status, out, err = call(capsys, "study", study, tmp_path / "model", source)
        assert (status, out) == (1, "")
        assert "is for embedding: studies need a classifier" in err


@pytest.mark.parametrize("command", ["predict", "eval", "embed", "robustness", "layers", "anatomy", "attribution"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16", "float8"])
def test_every_command_takes_a_precision(capsys, tmp_path, command, precision):
    save(tiny_checkpoint(), tmp_path / "model")
    source = write_classes(tmp_path / "images", each=2)
    extra = {
        "embed": ["-o", tmp_path / "out.npz"],
        "robustness": ["--tests", "sketch", "-o", tmp_path / "out.csv"],
        "anatomy": ["-o", tmp_path / "out.html"],
        "attribution": ["--methods", "rollout", "input_gradient", "-o", tmp_path / "out.csv"],
    }.get(command, [])
    name = [command] if command in ("predict", "eval", "embed") else ["study", command]
    status, _, err = call(capsys, *name, tmp_path / "model", source, "--precision", precision, *extra)
    assert "Traceback" not in err
    if precision != "float8":
        assert status == 0, err
    elif command in ("predict", "eval", "embed"):
        assert (status, "no precision 'float8' on the CPU" in err) == (1, True), err
    else:
        assert status == 2, err


def test_predict_counts_what_it_could_not_read(capsys, tmp_path):
    save(tiny_checkpoint(), tmp_path / "model")
    source = write_classes(tmp_path / "images", each=2)
    (source / "cat" / "broken.png").write_bytes(b"no image")
    status, out, err = call(capsys, "predict", tmp_path / "model", source, "-o", tmp_path / "t.tsv")
    assert (status, out) == (0, ""), err
    assert err.splitlines()[-1] == (
        f"vitrail: predicted 6 images; 1 file could not be read, see the column error; written to {tmp_path / 't.tsv'}"
    )
    status, _, err = call(capsys, "predict", tmp_path / "model", source, "-o", tmp_path / "t.ods")
    assert status == 1
    assert "use one of .csv" in err


def test_eval_writes_a_row_for_each_image(capsys, tmp_path):
    save(tiny_checkpoint(), tmp_path / "model")
    source = write_classes(tmp_path / "images", each=2)
    (source / "cat" / "broken.png").write_bytes(b"no image")
    run = ("--device", "cpu", "--precision", "float32", "--skip-bad", "--json")
    status, out, err = call(capsys, "eval", tmp_path / "model", source, "--rows", tmp_path / "rows.csv", *run)
    assert status == 0, err
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert [row["label"] for row in rows if not row["error"]] == [name for name in CLASSES for _ in range(2)]
    assert [row["path"] for row in rows if row["error"]] == ["cat/broken.png"]
    right = sum(row["label"] == row["class"] for row in rows if not row["error"])
    assert right / 6 == pytest.approx(json.loads(out)["top1"])
    status, _, err = call(capsys, "eval", tmp_path / "model", source, "--rows", tmp_path / "rows.doc", *run)
    assert status == 1
    assert "use one of .csv" in err


def test_embed_writes_a_file_or_a_folder(capsys, tmp_path):
    save(tiny_checkpoint(), tmp_path / "model")
    source = write_classes(tmp_path / "images", each=2)
    (source / "cat" / "broken.png").write_bytes(b"no image")
    for out in (tmp_path / "out.npz", tmp_path / "parts"):
        status, printed, err = call(capsys, "embed", tmp_path / "model", source, "-o", out)
        assert (status, printed) == (0, f"{out}\n"), err
        assert "7 images, 16 numbers each, 1 of them could not be read" in err
    with np.load(tmp_path / "out.npz") as whole, np.load(tmp_path / "parts" / "part-00000.npz") as part:
        for name in ("vectors", "paths", "errors"):
            np.testing.assert_array_equal(whole[name], part[name])
        assert (whole["errors"] != "").sum() == 1
    status, _, err = call(capsys, "embed", tmp_path / "model", source, "-o", tmp_path / "out.txt")
    assert status == 1
    assert "ends in .txt: use .npz, .parquet, .csv" in err


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        (("eval",), "--out"),
        (("eval",), "--rows"),
        (("predict",), "-o"),
        (("embed",), "-o"),
        (("study", "robustness"), "-o"),
        (("study", "anatomy"), "-o"),
    ],
)
def test_the_folder_of_an_output_is_made_or_the_first_word_is_why_not(capsys, tmp_path, command, flag):
    save(tiny_checkpoint(), tmp_path / "model")
    write_classes(tmp_path / "images", each=1)
    suffix = "html" if command[-1] == "anatomy" else "csv"
    quick = ("--tests", "calibration") if command[-1] == "robustness" else ()

    def written(file):
        return call(capsys, *command, tmp_path / "model", tmp_path / "images", flag, file, *quick)

    file = tmp_path / "new" / "deep" / f"found.{suffix}"
    status, _, err = written(file)
    assert status == 0, err
    assert file.is_file()
    status, _, err = written(file / f"found.{suffix}")
    assert (status, f"{file} is a file: name another folder" in err) == (1, True)


def test_a_classifier_is_scored_with_its_classes_named(capsys, tmp_path):
    save(tiny_checkpoint(), tmp_path / "model")
    source = write_classes(tmp_path / "images", each=2)
    status, out, _ = call(capsys, "eval", tmp_path / "model", source, "-o", tmp_path / "out.json", "--json")
    assert status == 0
    assert json.loads(out) == json.loads((tmp_path / "out.json").read_text())
    assert [row["name"] for row in json.loads(out)["per_class"]] == list(CLASSES)
    status, _, err = call(capsys, "predict", tmp_path / "model", source, "--top-k", "0")
    assert status == 1
    assert "top_k 0 is not possible" in err
