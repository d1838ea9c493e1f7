"""Regression: standardised targets and back, metrics against scikit-learn."""

import json
from dataclasses import replace

import pytest
import torch
from sklearn import metrics as sk

from vitrail.data.samples import FileAt, Sample, Source
from vitrail.errors import VitrailError
from vitrail.task_spec import CLASSIFICATION, REGRESSION, TaskSpec
from vitrail.tasks.registry import resolve
from vitrail.tasks.regression import Regression, ValuePrediction

NAMES = ("age", "height")


def samples(rows):
    return tuple(Sample(f"{index}.png", tuple(row), None, FileAt("none")) for index, row in enumerate(rows))


@pytest.fixture
def rows():
    return torch.tensor([[30.0, 1.7], [41, 1.62], [8, 1.1], [75, 1.8], [52, 1.55]], dtype=torch.float64)


@pytest.fixture
def task(rows):
    return Regression().fitted(samples(rows.tolist()), NAMES)


def test_targets_are_standardised_and_come_back(rows, task):
    targets = task.targets(samples(rows.tolist()), NAMES)
    assert (targets.shape, targets.dtype) == ((5, 2), torch.float32)
    torch.testing.assert_close(targets.double().mean(0), torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(targets.double().square().mean(0).sqrt(), torch.ones(2).double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(task.values(targets), rows, rtol=1e-6, atol=1e-6)
    decoded = task.decode(targets, NAMES)
    assert dict(decoded[3].values) == pytest.approx({"age": 75, "height": 1.8}, rel=1e-6)
    assert task.label_words(targets[2], NAMES) == "age 8, height 1.1"


def test_the_task_survives_its_spec(task):
    spec = TaskSpec.from_dict(json.loads(json.dumps(task.spec.to_dict())))
    assert spec == task.spec
    assert hash(spec) == hash(task.spec)
    assert resolve(spec) == task
    assert resolve(REGRESSION) == Regression()


def test_a_column_without_spread_is_not_divided_by_zero():
    fitted = Regression().fitted(samples([[1.0, 5.0], [3.0, 5.0]]), NAMES)
    assert (fitted.mean, fitted.scale) == ((2.0, 5.0), (1.0, 1.0))


def test_metrics_equal_scikit_learn(rows, task):
    targets = task.targets(samples(rows.tolist()), NAMES)
    outputs = targets + 0.3 * torch.randn(5, 2)
    metrics = task.metrics(NAMES)
    metrics.update(outputs[:2], targets[:2])
    metrics.update(outputs[2:], targets[2:])
    found = metrics.compute()
    predicted, truth = task.values(outputs).numpy(), rows.numpy()
    for column, row in enumerate(found.per_value):
        given = truth[:, column], predicted[:, column]
        assert row.name == NAMES[column]
        assert row.r2 == pytest.approx(sk.r2_score(*given), rel=1e-5)
        assert row.mean_absolute_error == pytest.approx(sk.mean_absolute_error(*given), rel=1e-5)
        assert row.root_mean_squared_error == pytest.approx(sk.root_mean_squared_error(*given), rel=1e-5)
    assert found.quality == found.r2 == pytest.approx(sk.r2_score(truth, predicted), rel=1e-5)
    assert found.loss == pytest.approx(sk.mean_squared_error(targets.numpy(), outputs.numpy()), rel=1e-5)
    assert (found.count, len(found.points), len(found.points[0])) == (5, 2, 5)
    json.dumps(found.to_dict(), allow_nan=False)
    by_name = [f"mean_absolute_error {name}" for name in NAMES]
    assert list(found.headline()) == ["loss", "r2", *by_name], "numbers of different units have no common error"
    assert list(found.card_metrics()) == ["r2"]
    assert "R²" in task.summary(found)
    assert "<svg" in task.report(found)[0]


def test_r2_is_not_defined_where_all_truths_are_equal():
    task = Regression()
    metrics = task.metrics(["x"])
    metrics.update(torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [2.0]]))
    found = metrics.compute()
    assert found.r2 is None
    assert found.quality == -found.loss == -0.5
    assert "r2" not in found.headline()


def test_the_largest_errors_in_units_of_the_deviation_come_first(task):
    targets = torch.zeros(4, 2)
    outputs = torch.tensor([[0.1, 0], [0, -3], [2, 0], [0, 0.5]])
    worst = task.mistakes(outputs, targets, NAMES, 2)
    assert [mistake.index for mistake in worst] == [1, 2]
    assert worst[1].size == f"off by {2 * task.scale[0]:.4g}"
    assert worst[0].predicted.startswith("height ")


def test_columns_are_matched_by_name(rows):
    source = Source("t.csv", ("height", "shoe", "age"), samples([[1.7, 44, 30]]), REGRESSION)
    matched = Regression().match(source, NAMES)
    assert (matched.class_names, matched.samples[0].labels) == (NAMES, (30, 1.7))
    with pytest.raises(VitrailError, match=r"t.csv has no column weight.*it has height, shoe, age"):
        Regression().match(source, ("age", "weight"))
    with pytest.raises(VitrailError, match="is labelled for classification, and this checkpoint is for regression"):
        Regression().match(replace(source, task=CLASSIFICATION), NAMES)


def test_a_prediction_as_a_row_and_as_json(task):
    prediction = ValuePrediction(path="a.png", values=(("age", 30.5), ("height", 1.7)))
    assert task.columns(NAMES, 5) == {"age": float, "height": float}
    assert task.cells(prediction, NAMES, 5) == [30.5, 1.7]
    assert task.to_dict(prediction) == {"values": {"age": 30.5, "height": 1.7}}
    assert task.cells(task.failed("b.png", "broken"), NAMES, 5) == [None, None]
    assert task.describe(NAMES) == "2 numbers: age, height"


def test_errors_are_sentences():
    with pytest.raises(VitrailError, match=r"a positive scale for each mean"):
        Regression(mean=(1.0,), scale=(0.0,))
    with pytest.raises(VitrailError, match=r"mean is .1., which does not fit"):
        resolve(TaskSpec.parse("regression:mean=1,scale=2"))
    with pytest.raises(VitrailError, match="was fitted to 1 numbers, not 2"):
        Regression(mean=(1.0,), scale=(2.0,)).values(torch.zeros(3, 2))
    with pytest.raises(VitrailError, match="no names to match columns with"):
        Regression().match(Source("t.csv", ("age",), samples([[3.0]]), REGRESSION), ())
    with pytest.raises(VitrailError, match="no labelled images"):
        Regression().metrics(["x"]).compute()
    metrics = Regression().metrics(["x"])
    metrics.update(torch.tensor([[torch.nan]]), torch.zeros(1, 1))
    with pytest.raises(VitrailError, match="not finite"):
        metrics.compute()


def test_a_head_goes_on_in_its_own_units_while_the_labels_are_alike():
    old = Regression(mean=(10.0,), scale=(2.0,))
    assert Regression(mean=(12.0,), scale=(3.0,)).continued(old.spec) == old
    in_other_units = Regression(mean=(1000.0,), scale=(200.0,))
    assert in_other_units.continued(old.spec) is None
    assert Regression(mean=(10.0,), scale=(7.0,)).continued(old.spec) is None
    assert Regression(mean=(1.0, 2.0), scale=(1.0, 1.0)).continued(old.spec) is None
    assert in_other_units.continued(TaskSpec("regression")) is None
    assert in_other_units.continued(TaskSpec("classification")) is None
