"""Thresholds against all possible ones, and where they are used."""

import json

import pytest
import torch

import vitrail
from vitrail.checkpoint.contract import Checkpoint
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.task_spec import MULTI_LABEL
from vitrail.tasks.classification import Classification
from vitrail.tasks.classification_metrics import score
from vitrail.tasks.registry import resolve
from vitrail.tasks.thresholds import fit_threshold, fit_thresholds


def f1(probabilities: torch.Tensor, target: torch.Tensor, threshold: float) -> float:
    predicted = probabilities >= threshold
    return 2 * float((predicted & target).sum()) / float(predicted.sum() + target.sum())


def test_the_threshold_has_the_largest_f1() -> None:
    random = torch.Generator().manual_seed(0)
    for count in (12, 200):
        probabilities = torch.rand(count, generator=random).mul(20).round() / 20  # many are equal
        target = torch.rand(count, generator=random) < probabilities**2
        found = fit_threshold(probabilities, target)
        best = max(f1(probabilities, target, step / 1000) for step in range(1001))
        assert f1(probabilities, target, found) == pytest.approx(best)
    assert fit_threshold(torch.tensor([0.2, 0.7]), torch.tensor([False, False])) == 0.5
    assert fit_threshold(torch.tensor([0.1, 0.2]), torch.tensor([True, True])) == pytest.approx(0.05)


def test_rare_classes_share_a_threshold() -> None:
    random = torch.Generator().manual_seed(0)
    probabilities = torch.rand(100, 5, generator=random)
    target = (probabilities > torch.tensor([0.3, 0.8, 0.95, 0.95, 0.95])).float()
    first, second, *others = fit_thresholds(probabilities, target)
    assert (first, second) == pytest.approx((0.3, 0.8), abs=0.03)
    assert target[:, 2:].sum(0).max() < 10
    assert others == [fit_threshold(probabilities[:, 2:].flatten(), target[:, 2:].bool().flatten())] * 3
    assert others == pytest.approx([0.95] * 3, abs=0.02)
    assert fit_thresholds(probabilities[:, 1:3], target[:, 1:3])[1] == 0.5
    with pytest.raises(VitrailError, match="no image to fit thresholds on"):
        fit_thresholds(probabilities[:0], target[:0])


def test_calibrated_tasks_predict_and_score_with_them() -> None:
    random = torch.Generator().manual_seed(1)
    logits = 2 * torch.randn(400, 3, generator=random)
    target = torch.bernoulli((logits - torch.tensor([0.0, 2.0, 3.0])).sigmoid(), generator=random)
    task = Classification(labels="many").calibrated(logits, target)
    assert len(task.thresholds) == 3
    assert resolve(task.spec) == task
    metrics, usual = task.metrics("abc"), Classification(labels="many", temperature=task.temperature).metrics("abc")
    for each in (metrics, usual):
        each.update(logits, target)
    found, plain = metrics.compute(), usual.compute()
    assert found.macro_f1 is not None
    assert found.raw_macro_f1 == plain.macro_f1
    assert found.macro_f1 > (plain.macro_f1 or 1)
    assert [row.threshold for row in found.per_class] == list(task.thresholds)
    assert found.mean_average_precision == plain.mean_average_precision
    for prediction, row in zip(task.decode(logits[:20], "abc", 2), task.probabilities(logits[:20]), strict=True):
        wanted = tuple(name for name, p, t in zip("abc", row, task.thresholds, strict=True) if p >= t)
        assert prediction.present == wanted
        assert task.cells(prediction, "abc", 2)[0] == "|".join(wanted)
        assert task.to_dict(prediction)["present"] == list(wanted)
    assert list(task.columns("abc", 1)) == ["present", "class", "probability"]
    assert "with thresholds of 50 %" in task.summary(found)
    assert "A class is predicted from its threshold on" in "".join(task.report(found))


def test_one_label_has_no_thresholds() -> None:
    task = Classification()
    (prediction,) = task.decode(torch.zeros(1, 2), "ab")
    assert prediction.present is None
    assert list(task.columns("ab", 1)) == ["class", "probability"]
    with pytest.raises(VitrailError, match="labels=many"):
        Classification(thresholds=(0.5,))
    with pytest.raises(VitrailError, match="it is a probability"):
        Classification(labels="many", thresholds=(1.5,))
    with pytest.raises(VitrailError, match="thresholds for 2 classes and outputs for 3"):
        Classification(labels="many", thresholds=(0.5, 0.5)).decode(torch.zeros(1, 3), "abc")


def test_a_fresh_head_has_no_thresholds_of_the_former_one(tmp_path) -> None:
    task = Classification(labels="many", thresholds=(0.2, 0.6)).spec
    model = vitrail.create_model("compact_tiny_8", depth=1, num_classes=2, task=task)
    preprocess = Preprocess(image_size=(8, 8), mean=(0.5,) * 3, std=(0.5,) * 3)
    vitrail.save(Checkpoint(model, ("a", "b"), preprocess), tmp_path / "x")
    assert vitrail.load(tmp_path / "x").task == task
    assert json.loads((tmp_path / "x/model.json").read_text())["config"]["task"]
    assert vitrail.load(tmp_path / "x", num_classes=3).task == MULTI_LABEL


def test_thresholds_and_scores_agree_with_those_of_score() -> None:
    logits, target = torch.tensor([[0.0, 3.0], [2.0, -3.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    found = score(logits, target, "ab", "many", thresholds=torch.tensor([0.4, 0.99]))
    assert (found.micro_f1, found.subset_accuracy) == (1.0, 1.0)
    assert score(logits, target, "ab", "many").micro_f1 == pytest.approx(0.5)
