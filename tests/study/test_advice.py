"""Advice: it follows the measurements that it is given, and names what they do not cover."""

import json
from pathlib import Path

import pytest

from vitrail.cli.main import main
from vitrail.data.bad_files import BadFiles
from vitrail.errors import VitrailError
from vitrail.models.registry import model_config
from vitrail.study.advice import Problem, advise, parse_seconds
from vitrail.study.advice_page import advice_page, advice_text
from vitrail.study.candidates import CANDIDATES
from vitrail.study.measurements import Measurement, Result, measurements, nearest_measurement
from vitrail.study.source_problem import source_problem

from ..evaluation.small_checkpoint import write_classes

ROOT = Path(__file__).parents[2]


def measured(images, side=224, question="scratch", tested_on=1000, **accuracies):
    results = tuple(Result(kind=kind, model=f"the {kind}", accuracy=value) for kind, value in accuracies.items())
    return Measurement(
        question=question,
        source=f"set of {images}",
        images=images,
        classes=10,
        side=side,
        minutes=5,
        machine="a machine",
        logged="2026-01-01",
        seeds=1,
        tested_on=tested_on,
        results=results,
        note="made up",
    )


TABLE = (measured(1000, hybrid=0.6, cnn=0.8), measured(50_000, vit=0.9, cnn=0.7), measured(9000, hybrid=0.99))


def reasons(advice):
    return " | ".join(reason.text for reason in advice.reasons)


def test_the_nearest_comparison_decides():
    few = advise(Problem(images=2000, classes=10, pretrained="no"), TABLE)
    assert few.recommendation == "Train resnet18, a CNN, from scratch."
    assert "set of 1000" in reasons(few)
    many = advise(Problem(images=40_000, classes=10, pretrained="no"), TABLE)
    assert "vit_tiny_patch16_224" in many.recommendation
    # A table with one kind of model compares nothing.
    assert nearest_measurement(TABLE, "scratch", 9000, 224) is not TABLE[2]


def test_far_away_nothing_is_claimed():
    far = advise(Problem(images=10, classes=2, side=224, pretrained="no"), TABLE)
    assert "hybrid" in far.recommendation
    assert any("no comparison within a factor of ten" in sentence for sentence in far.unknown)
    assert not any(reason.basis == "measured" for reason in far.reasons)


def test_a_difference_within_the_margin_is_not_known():
    close = (measured(1000, tested_on=100, hybrid=0.60, cnn=0.62),)
    # 1.96 · √((0.6 · 0.4 + 0.62 · 0.38) / 100) = 0.135
    assert close[0].margin == pytest.approx(0.1354, abs=1e-3)
    found = advise(Problem(images=1000, classes=10), close)
    assert any("within 13.5 points" in sentence for sentence in found.unknown)


def test_weights_that_are_at_hand_are_used_and_their_gain_is_not_invented():
    found = advise(Problem(images=1000, classes=10, pretrained="yes"), TABLE)
    assert "--weights CHECKPOINT" in found.commands[0]
    assert any("how much the weights gain" in sentence for sentence in found.unknown)
    table = (*TABLE, measured(1000, question="pretrained", vit=0.9, hybrid=0.5))
    assert "fine-tuning: set of 1000" in reasons(advise(Problem(images=1000, classes=10, pretrained="yes"), table))


def test_the_latency_chooses_the_largest_candidate_that_keeps_it(monkeypatch):
    monkeypatch.setattr("vitrail.planning.speed.matrix_speed", lambda: 2e10)  # 10 GFLOPs a second are assumed
    table = (measured(1000, hybrid=0.9, cnn=0.1),)
    problem = Problem(images=1000, classes=10, side=128, pretrained="no", latency=0.05)
    found = advise(problem, table)
    assert "compact_small_64" in found.recommendation  # 47 ms; compact_small_128 takes 78 ms
    assert "estimated" in reasons(found)
    slow = advise(Problem(images=1000, classes=10, side=128, pretrained="no", latency=0.001), table)
    assert any("does not keep it" in sentence for sentence in slow.unknown)
    small = advise(Problem(images=1000, classes=10, side=224, pretrained="no", latency=0.02), table)
    assert any("images of 224 px are reduced to 32 px" in sentence for sentence in small.unknown)


def test_needs_and_targets_that_were_not_measured_are_named():
    needs = ("global-context", "robustness", "explanations")
    found = advise(Problem(images=1000, classes=10, needs=needs, target="phone"), TABLE)
    text = advice_text(found)
    assert "was not measured" in text
    assert "study robustness RUN SOURCE" in text
    assert "a CNN has no attention maps" in text
    assert "this machine is none" in text


def test_impossible_questions_are_errors():
    with pytest.raises(VitrailError, match="does not train 'segmentation'"):
        advise(Problem(images=10, classes=2, task="segmentation"))
    with pytest.raises(VitrailError, match="positive"):
        advise(Problem(images=0, classes=2))
    assert parse_seconds("10ms") == pytest.approx(0.01)
    assert parse_seconds("0.5 s") == 0.5
    with pytest.raises(VitrailError, match="10ms"):
        parse_seconds("soon")


def test_the_table_and_the_candidates_are_sound():
    for each in measurements():
        assert all(0 < result.accuracy < 1 for result in each.results)
    for names in CANDIDATES.values():
        for name in names:
            assert model_config(name).task.name == "classification"


def test_the_page_is_written_from_the_table():
    assert (ROOT / "docs/advice.md").read_text(encoding="utf-8") == advice_page()


def test_the_command_prints_json(capsys):
    with pytest.raises(SystemExit) as end:
        main(["advise", "--images", "3000", "--classes", "12", "--target", "phone", "--needs", "robustness", "--json"])
    assert not end.value.code
    assert json.loads(capsys.readouterr().out)["commands"]


def test_the_problem_of_a_source_is_what_a_run_would_train_on(capsys, tmp_path):
    images = write_classes(tmp_path / "my flowers", each=10)  # of 10 x 12 px
    (images / "cat" / "broken.png").write_bytes(b"no image")
    with pytest.raises(BadFiles, match="1 bad file"):
        source_problem(str(images))
    problem, bad = source_problem(str(images), skip_bad=True)
    assert (problem.images, problem.classes, problem.side, problem.task) == (24, 3, 10, "classification")
    assert [file.name for file in bad] == ["cat/broken.png"]
    (images / "cat" / "broken.png").unlink()
    for given, words in (((), "24 training images, 3 classes, 10 px"), (("--images", "500"), "24 training images")):
        with pytest.raises(SystemExit) as end:
            main(["advise", str(images), "--target", "phone", "--json", *given])
        assert not end.value.code
        printed = capsys.readouterr()
        assert words in printed.err
        found = json.loads(printed.out)
        assert all(f"'{images}'" in command for command in found["commands"])
        assert any(f"{500 if given else 24} images of 10 px" in sentence for sentence in found["unknown"])
    with pytest.raises(SystemExit) as end:
        main(["advise"])
    assert end.value.code == 1
    assert "give a source, or --images N with --classes N" in capsys.readouterr().err


def test_more_classes_than_images_and_tasks_that_are_not_trained_are_errors():
    with pytest.raises(VitrailError, match="5 images cannot show 6 classes"):
        advise(Problem(images=5, classes=6))
    with pytest.raises(VitrailError, match="does not train 'embedding'"):
        advise(Problem(images=5, classes=0, task="embedding"))


def test_numbers_have_no_study_of_data_efficiency():
    commands = advise(Problem(images=100, classes=0, side=16, target="phone", task="regression")).commands
    assert not any("data-efficiency" in command for command in commands)
