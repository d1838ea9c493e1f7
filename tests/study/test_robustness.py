"""The study of robustness on a tiny model and tiny images: the table adds up, and what is compared is the same."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from vitrail.data.corrupt.corruptions import CORRUPTIONS, corrupt
from vitrail.data.open import open_source, read_image
from vitrail.data.seeds import derive
from vitrail.errors import VitrailError
from vitrail.evaluation.evaluate import evaluate
from vitrail.evaluation.predict import predict
from vitrail.pages.files import write_results
from vitrail.progress import silent
from vitrail.study.options import StudyOptions
from vitrail.study.robustness import RobustnessOptions, mean_corruption_error, study_robustness
from vitrail.study.robustness_table import column_names, files, table
from vitrail.study.robustness_tests import Measurement, conflicts, corruptions
from vitrail.study.studied_model import channels_first, studied_model
from vitrail.tasks.temperature import fit_temperature

from ..evaluation.small_checkpoint import CLASSES, write_classes


def values_of(rows):
    return {row.test: row.value for row in rows}


def values(study, column=0):
    return {row[column].test: row[column].value for row in study.rows if row[column].severity is None}


def test_the_clean_row_equals_eval_and_everything_is_a_share(checkpoint, source):
    study = study_robustness([checkpoint], source, RobustnessOptions(severities=(2,), steps=2))
    found = values(study)
    scored = evaluate(checkpoint, source)
    assert found["clean accuracy"] == scored.top1
    assert found["ECE"] == pytest.approx(scored.ece)
    assert set(CORRUPTIONS) < set(found)
    assert found["mean of corruptions"] == pytest.approx(np.mean([found[name] for name in CORRUPTIONS]))
    assert found["PGD ε=4/255"] <= found["PGD ε=1/255"] <= found["clean accuracy"]
    shares = [row for (row,) in study.rows if row.unit == "share" and row.each is not None]
    assert {row.test for row in shares} >= {"clean accuracy", "FGSM ε=1/255", "sketch sobel"}
    for row in shares:
        assert set(row.each.tolist()) <= {0.0, 1.0} or row.test == "mean of corruptions", row.test
        assert row.value == pytest.approx(row.each.mean().item()), row.test
    assert "mean corruption error" not in found


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("batch_size", [5, 32])
def test_study_and_eval_give_equal_numbers(checkpoint, source, precision, batch_size):
    run = {"precision": precision, "batch_size": batch_size, "device": "cpu"}
    found = values(study_robustness([checkpoint], source, RobustnessOptions(tests=("calibration",), **run)))
    scored = evaluate(checkpoint, source, **run)
    assert (found["clean accuracy"], found["ECE"]) == (scored.top1, pytest.approx(scored.ece))
    studied = studied_model(checkpoint, open_source(source).samples, StudyOptions(**run))
    predicted = [dict(row.classes) for row in predict(checkpoint, source, top_k=3, **run)]
    probabilities = studied.clean_logits().softmax(dim=1).tolist()
    for row, known in zip(probabilities, predicted, strict=True):
        assert row == pytest.approx([known[name] for name in CLASSES])
    own = checkpoint.model(torch.stack([checkpoint.preprocess.normalise(image) for image in studied.fitted]))
    gap = (studied.clean_logits() - own).abs().max().item()
    assert gap < 1e-4 if precision == "float32" else 1e-4 < gap < 0.3


def test_the_last_batch_does_not_change_an_image(checkpoint, source):
    """12 images in batches of 5: those of the last batch, of two, have the numbers that a full batch gives them."""
    samples = open_source(source).samples
    for precision in ("float32", "bfloat16"):
        run = {"precision": precision, "batch_size": 5, "device": "cpu"}
        ragged = studied_model(checkpoint, samples, StudyOptions(**run)).clean_logits()
        full = studied_model(checkpoint, [*samples, *samples[:3]], StudyOptions(**run)).clean_logits()
        assert torch.equal(ragged, full[:12])


def test_sixteen_bit_images_are_studied_as_eval_reads_them(checkpoint, tmp_path):
    random = np.random.default_rng(0)
    for name in CLASSES:
        (tmp_path / name).mkdir()
        for index in range(3):
            Image.fromarray(random.integers(0, 65536, (10, 12), dtype=np.uint16)).save(tmp_path / name / f"{index}.png")
    found = values(study_robustness([checkpoint], str(tmp_path), RobustnessOptions(tests=("calibration",))))
    assert found["ECE"] == evaluate(checkpoint, tmp_path).ece
    studied = studied_model(checkpoint, open_source(tmp_path).samples)
    assert not torch.equal(studied.clean_logits(), studied.logits(studied.images))  # those have lost 8 of 16 bits


def test_values_outside_zero_to_one_are_studied_as_eval_reads_them(checkpoint, tmp_path):
    """CT-like values: changed images have their range in 256 levels, and are not clipped to 0 and 1."""
    random = np.random.default_rng(0)
    for name in CLASSES:
        (tmp_path / name).mkdir()
        for index in range(3):
            np.save(tmp_path / name / f"{index}.npy", random.integers(-1024, 3072, (10, 12), dtype=np.int16))
    preprocess = replace(checkpoint.preprocess, mean=(1024.0,) * 3, std=(1000.0,) * 3)
    wide = replace(checkpoint, preprocess=preprocess)
    samples = open_source(tmp_path).samples
    studied = studied_model(wide, samples, StudyOptions(precision="float32"))
    assert (studied.low, studied.high) == (min(f.min() for f in studied.fitted), max(f.max() for f in studied.fitted))
    step = (studied.high - studied.low) / 255
    back = studied.restored(torch.stack([channels_first(image) for image in studied.images]))
    assert (back - torch.stack(studied.fitted)).abs().max() <= 0.501 * step
    torch.testing.assert_close(studied.logits(studied.images), studied.clean_logits(), rtol=0, atol=0.05)
    options = RobustnessOptions(tests=("adversarial",), epsilons=(0.0,), steps=1, precision="float32")
    study = study_robustness([wide], str(tmp_path), options)
    unchanged = studied.correct(studied.logits(studied.images)).mean().item()
    assert values(study)["FGSM ε=0/255"] == pytest.approx(unchanged)
    assert any("256 levels from" in note for note in study.notes)


def test_a_corruption_row_is_the_accuracy_on_the_corrupted_images(checkpoint, source):
    samples = open_source(source).samples
    studied = studied_model(checkpoint, samples)
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


def test_two_models_meet_the_same_images_and_the_second_has_error_one(checkpoint, source, tmp_path):
    # The second counts its classes otherwise: it is the same model with its head turned.
    other = replace(checkpoint, class_names=("fox", "cat", "dog"))
    study = study_robustness(
        [checkpoint, other], source, RobustnessOptions(tests=("corruption",), severities=(5,), limit=6)
    )
    assert values(study, 1)["mean corruption error"] == pytest.approx(1)
    assert "6 of 12 images" in study.notes[0]
    write_results(tmp_path / "out.csv", files(study, ["runs/a", "a"]))
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:5] == ["test", "severity", "unit", "runs/a", "runs/a ±"]
    assert list(rows[0])[5:] == ["a", "a ±", "difference", "difference ±"]
    fog = [row for row in rows if row["test"] == "fog"]
    assert [row["severity"] for row in fog] == ["5", ""]
    assert float(fog[0]["difference"]) == pytest.approx(float(fog[0]["runs/a"]) - float(fog[0]["a"]), abs=1e-5)
    headers, lines = table(study, ["runs/a", "a"])
    assert headers == ["test", "a", "a (2)", "difference", "±"]
    assert [line[0] for line in lines] == [
        "clean accuracy",
        *CORRUPTIONS,
        "mean of corruptions",
        "mean corruption error",
    ]


def test_mean_corruption_error_is_the_mean_of_ratios():
    own, reference = ([Measurement(name, value, 1) for name in CORRUPTIONS] for value in (0.7, 0.4))
    own[0] = replace(own[0], value=0.4)
    assert mean_corruption_error(own, reference) == pytest.approx((14 * 0.5 + 1) / 15)
    # Errors are added over severities before they are divided: (0.6 + 0.5) / (0.6 + 0.9), not a mean of two ratios.
    own, reference = (
        [
            Measurement(name, value, level)
            for name in CORRUPTIONS
            for level, value in ((1, 0.4), (2, second), (None, 0.7))
        ]
        for second in (0.5, 0.1)
    )
    assert mean_corruption_error(own, reference) == pytest.approx(1.1 / 1.5)
    assert mean_corruption_error(own, [Measurement(name, 1.0, 1) for name in CORRUPTIONS]) is None


def test_cue_conflict_needs_masks_and_reports_both_cues(checkpoint, source, tmp_path):
    with pytest.raises(VitrailError, match="--masks"):
        RobustnessOptions(tests=("conflict",))
    masks = tmp_path / "masks"
    for sample in open_source(source).samples:
        path = masks / sample.name
        path.parent.mkdir(parents=True, exist_ok=True)
        mask = np.zeros((10, 12), np.uint8)
        mask[2:8, 3:9] = 255
        Image.fromarray(mask).save(path)
    options = RobustnessOptions(tests=("conflict",), masks=masks, precision="float32", seed=3)
    found = values(study_robustness([checkpoint], source, options))
    # test_trials has the conflicts of rules with known answers: here are their images and masks, put together by hand.
    samples = open_source(source).samples
    studied = studied_model(checkpoint, samples, StudyOptions(precision="float32"))
    white = torch.zeros(1, 10, 12, dtype=torch.uint8)
    white[:, 2:8, 3:9] = 255
    mask = (checkpoint.preprocess.fit(white)[0] > 127).numpy()
    expected = values_of(conflicts(studied, [mask] * len(samples), 3))
    assert {name: found[name] for name in expected} == expected
    assert expected["cue conflict: shape"] + expected["cue conflict: texture"] > 0
    some = next(iter(masks.rglob("*.png")))
    Image.new("L", (12, 10)).save(some)
    study = study_robustness([checkpoint], source, RobustnessOptions(tests=("conflict",), masks=masks))
    assert any("leaves out 1 images" in note for note in study.notes)
    Image.new("L", (30, 10)).save(some)
    with pytest.raises(VitrailError, match=r"is 30×10 px, the .* 12×10"):
        study_robustness([checkpoint], source, RobustnessOptions(tests=("conflict",), masks=masks))
    some.unlink()
    study = study_robustness([checkpoint], source, RobustnessOptions(tests=("conflict",), masks=masks))
    assert any("leaves out 1 images without a mask" in note for note in study.notes)
    for path in masks.rglob("*.png"):
        path.unlink()
    with pytest.raises(VitrailError, match="no mask for"):
        study_robustness([checkpoint], source, RobustnessOptions(tests=("conflict",), masks=masks))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tests": ("skech",)}, "sketch"),
        ({"severities": (6,)}, "severities 6: name some of 1 to 5"),
        ({"severities": (1, 1)}, "each once"),
        ({"severities": ()}, "none"),
        ({"epsilons": ()}, "none"),
        ({"epsilons": (-1.0,)}, "epsilon -1"),
        ({"epsilons": (float("nan"),)}, "epsilon nan"),
        ({"epsilons": (300.0,)}, "from 0 to 255"),
        ({"steps": 0}, "0 steps"),
        ({"limit": 1}, "2 or more, or all"),
        ({"batch_size": 0}, "batch size 0"),
    ],
)
def test_options_are_checked_at_the_door(options, words):
    with pytest.raises(VitrailError, match=words):
        RobustnessOptions(**options)


def test_the_temperature_is_fitted_on_the_val_part(checkpoint, tmp_path):
    for part, each in (("train", 2), ("val", 10), ("test", 3)):
        write_classes(tmp_path / "all" / part, each=each)
    source = str(tmp_path / "all")
    study = study_robustness([checkpoint], source, RobustnessOptions(tests=("calibration",)))
    found = values(study)
    val = studied_model(checkpoint, [sample for sample in open_source(source).samples if sample.split == "val"])
    assert found["temperature"] == pytest.approx(fit_temperature(val.calibrated_logits(), val.labels), rel=1e-6)
    assert len(val.images) == 30
    assert any(note.endswith("the temperature is fitted on 30 validation images") for note in study.notes)
    few = study_robustness([checkpoint], source, RobustnessOptions(tests=("calibration",), limit=12))
    assert any("12 validation images are fewer than 30" in note for note in few.notes)
    assert not any("few" in note for note in study.notes)


def test_the_spread_is_over_images_and_of_two_models_over_their_differences(checkpoint, source):
    other = replace(checkpoint, class_names=("fox", "cat", "dog"))
    study = study_robustness([checkpoint, other], source, RobustnessOptions(tests=()))
    samples = open_source(source).samples
    pixels = torch.stack([checkpoint.preprocess(read_image(sample, 3)) for sample in samples])
    said, truth = checkpoint.model(pixels).argmax(1), torch.tensor([sample.labels[0] for sample in samples])
    first, second = ((said == labels).numpy().astype(float) for labels in (truth, (truth + 1) % 3))
    assert study.rows[0][0].value == pytest.approx(first.mean())
    assert study.rows[0][0].error == pytest.approx(np.sqrt(first.var(ddof=1) / 12))
    expected = np.sqrt((first - second).var(ddof=1) / 12)
    _, lines = table(study, ["a", "b"])
    assert lines[0][-2:] == [f"{100 * (first - second).mean():+.1f}", f"{100 * expected:.1f}"]


def test_names_of_columns_are_short_and_unlike():
    assert column_names(["runs/vit", "runs/cnn/"]) == ["vit", "cnn"]
    assert column_names(["a/run", "b/run"]) == ["run", "run (2)"]
    assert column_names(["timm/a_name_that_is_far_too_long"]) == ["…is_far_too_long"]


def test_all_images_are_studied_where_no_limit_is_set(checkpoint, source):
    study = study_robustness([checkpoint], source, RobustnessOptions(tests=(), limit=None))
    assert study.notes[0].startswith("12 images")
    assert len(study.rows[0][0].each) == 12
