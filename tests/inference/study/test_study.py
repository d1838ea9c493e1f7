"""Both studies on a tiny model and tiny pictures: the tables add up, and what is compared is the same."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from vitrail.data.corrupt.table import CORRUPTIONS, corrupt
from vitrail.data.seeds import derive
from vitrail.data.sources import open_source
from vitrail.errors import VitrailError
from vitrail.inference.evaluate import evaluate
from vitrail.inference.study.layers import study_layers
from vitrail.inference.study.layers import table as layers_table
from vitrail.inference.study.pictures import subject
from vitrail.inference.study.robustness import Options, mean_corruption_error, study_robustness, table, write_csv
from vitrail.inference.study.trials import Row, corruptions
from vitrail.progress import silent

from ..pictures import tiny_checkpoint, write_classes


@pytest.fixture
def checkpoint():
    found = tiny_checkpoint()
    with torch.no_grad():
        for parameter in found.model.parameters():
            parameter.normal_(std=0.4)
    return found


@pytest.fixture
def source(tmp_path):
    return str(write_classes(tmp_path / "pictures", each=4))


def values(study, column=0):
    return {row.test: each[column] for row, each in zip(study.rows, study.values, strict=True) if row.severity is None}


def test_the_clean_row_is_what_eval_says_and_everything_is_a_share(checkpoint, source):
    study = study_robustness([checkpoint], source, Options(severities=(2,), steps=2))
    found = values(study)
    scored = evaluate(checkpoint, source)
    assert found["clean accuracy"] == pytest.approx(scored.top1)
    assert found["ECE"] == pytest.approx(scored.ece, abs=1e-6)
    assert set(CORRUPTIONS) < set(found)
    assert found["mean of corruptions"] == pytest.approx(np.mean([found[name] for name in CORRUPTIONS]))
    assert found["PGD ε=4/255"] <= found["PGD ε=1/255"] <= found["clean accuracy"]
    assert all(0 <= each[0] <= 1 for row, each in zip(study.rows, study.values, strict=True) if row.unit == "share")
    assert "mean corruption error" not in found


def test_a_corruption_row_is_the_accuracy_on_the_corrupted_pictures(checkpoint, source):
    samples = open_source(source).samples
    studied = subject(checkpoint, samples)
    rows = {(row.test, row.severity): row.value for row in corruptions(studied, (1, 5), 7, silent)}
    for name in ("fog", "jpeg_compression"):
        right = 0
        for place, (image, sample) in enumerate(zip(studied.images, samples, strict=True)):
            damaged = torch.from_numpy(corrupt(image, name, 5, derive(7, place))).movedim(2, 0)
            with torch.no_grad():
                said = checkpoint.model(checkpoint.preprocess.normalise(damaged)[None]).argmax().item()
            right += said == sample.labels[0]
        assert rows[name, 5] == pytest.approx(right / len(samples))
        assert rows[name, None] == pytest.approx((rows[name, 1] + rows[name, 5]) / 2)


def test_two_models_meet_the_same_pictures_and_the_second_has_error_one(checkpoint, source, tmp_path):
    # The second counts its classes otherwise: it is the same model with its head turned.
    other = replace(checkpoint, class_names=("fox", "cat", "dog"))
    study = study_robustness([checkpoint, other], source, Options(tests=("corruption",), severities=(5,), limit=6))
    assert values(study, 1)["mean corruption error"] == pytest.approx(1)
    assert "6 of 12 pictures" in study.note
    write_csv(study, ["a", "b"], tmp_path / "out.csv")
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["test", "severity", "a", "b"]
    fog = [row for row in rows if row["test"] == "fog"]
    assert [row["severity"] for row in fog] == ["5", ""]
    headers, lines = table(study, ["a", "b"])
    assert headers == ["test", "a", "b"]
    assert len(lines) == 1 + len(CORRUPTIONS) + 2


def test_mean_corruption_error_is_the_mean_of_ratios():
    own, reference = ([Row(name, value, 1) for name in CORRUPTIONS] for value in (0.7, 0.4))
    own[0] = replace(own[0], value=0.4)
    assert mean_corruption_error(own, reference) == pytest.approx((14 * 0.5 + 1) / 15)
    assert mean_corruption_error(own, [Row(name, 1.0, 1) for name in CORRUPTIONS]) is None


def test_cue_conflict_needs_masks_and_reports_both_cues(checkpoint, source, tmp_path):
    with pytest.raises(VitrailError, match="--masks"):
        Options(tests=("conflict",))
    masks = tmp_path / "masks"
    for sample in open_source(source).samples:
        path = masks / sample.name
        path.parent.mkdir(parents=True, exist_ok=True)
        mask = np.zeros((10, 12), np.uint8)
        mask[2:8, 3:9] = 255
        Image.fromarray(mask).save(path)
    found = values(study_robustness([checkpoint], source, Options(tests=("conflict",), masks=masks)))
    shape, texture = found["cue conflict: shape"], found["cue conflict: texture"]
    assert 0 <= shape + texture <= 1
    if shape + texture:
        assert found["shape bias"] == pytest.approx(shape / (shape + texture))
    next(iter(masks.rglob("*.png"))).unlink()
    with pytest.raises(VitrailError, match="no mask for"):
        study_robustness([checkpoint], source, Options(tests=("conflict",), masks=masks))


@pytest.mark.parametrize(
    ("options", "words"),
    [({"tests": ("skech",)}, "sketch"), ({"severities": (6,)}, "1 to 5"), ({"limit": 1}, "2 or more")],
)
def test_options_are_checked_at_the_door(options, words):
    with pytest.raises(VitrailError, match=words):
        Options(**options)


def test_several_labels_a_picture_are_refused(source):
    with pytest.raises(VitrailError, match="several labels"):
        subject(tiny_checkpoint("multi"), open_source(source).samples)


def test_layers_have_probes_and_a_lens_that_ends_in_the_answer(checkpoint, source):
    study = study_layers(checkpoint, source)
    assert [layer.name for layer in study.layers] == ["encoder.blocks.0", "encoder.blocks.1"]
    last = study.layers[-1]
    assert last.agrees == 1
    assert all(0 <= layer.probe_mean <= 1 and 0 <= layer.probe_class <= 1 for layer in study.layers)
    headers, rows = layers_table(study)
    assert headers[:5] == ["layer", "width", "probe: class", "probe: mean", "lens"]
    assert rows[0][0] == "blocks.0"
    assert "halved" in study.notes[0]


def test_layers_learn_from_train_and_are_scored_on_test(checkpoint, tmp_path):
    write_classes(tmp_path / "both" / "train", each=3)
    write_classes(tmp_path / "both" / "test", each=2)
    study = study_layers(checkpoint, str(tmp_path / "both"))
    assert "learn from 9" in study.notes[0]
    assert "6 pictures: the test part" in study.notes[0]
