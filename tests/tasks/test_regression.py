"""Regression: standardised targets and back, metrics against scikit-learn."""

import json
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from vitrail.data.samples import FileAt, Sample, Source
from vitrail.errors import VitrailError
from vitrail.task_spec import CLASSIFICATION, REGRESSION, TaskSpec
from vitrail.tasks.conformal import fewest_images, half_width
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


def test_an_output_of_zero_is_the_best_constant_of_a_quantile(rows):
    fitted = Regression(quantile=0.75).fitted(samples(rows.tolist()), NAMES)
    for column, middle in enumerate(fitted.mean):
        truth = rows[:, column].numpy()
        losses = [sk.mean_pinball_loss(truth, np.full(5, value), alpha=0.75) for value in truth]
        assert sk.mean_pinball_loss(truth, np.full(5, middle), alpha=0.75) == min(losses)


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
    with pytest.raises(VitrailError, match=r"mean is 1, which does not fit"):
        resolve(TaskSpec.parse("regression:mean=1,scale=2"))
    with pytest.raises(VitrailError, match="was fitted to 1 numbers, not 2"):
        Regression(mean=(1.0,), scale=(2.0,)).values(torch.zeros(3, 2))
    with pytest.raises(VitrailError, match="no names to match columns with"):
        Regression().match(Source("t.csv", ("age",), samples([[3.0]]), REGRESSION), ())
    with pytest.raises(VitrailError, match=r"regression has a level of 1.0: it is a fraction"):
        Regression(level=1.0)
    with pytest.raises(VitrailError, match=r"a half-width of -1.0: it is a distance"):
        Regression(half_widths=(-1.0,))
    with pytest.raises(VitrailError, match="has intervals for 1 numbers and outputs for 2"):
        Regression(half_widths=(1.0,)).decode(torch.zeros(3, 2), NAMES)
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


@pytest.mark.parametrize("level", ["0.5", "0.8", "0.9", "0.95"])
def test_a_half_width_is_an_order_statistic_of_the_errors(level):
    """Against exact arithmetic and counting: ⌈(n + 1) level⌉ errors are within it, all but one of them below."""
    for count in range(1, 121):
        errors = torch.randn(count, dtype=torch.float64)
        rank = math.ceil((count + 1) * Fraction(level))
        found = half_width(errors, float(level))
        assert math.isinf(found) == (rank > count) == (count < fewest_images(float(level)))
        if rank <= count:
            within = [abs(error) <= found for error in errors.tolist()]
            below = [abs(error) < found for error in errors.tolist()]
            assert (sum(within), sum(below)) == (rank, rank - 1)


def test_intervals_cover_new_errors_of_the_same_kind_at_their_level():
    """Skewed errors, 2,000 draws of 19 fitted and one new: the coverage is 18 / 20 whatever their distribution is."""
    random = np.random.default_rng(0)
    errors = torch.from_numpy(random.exponential(size=(2000, 20)) ** 2)
    covered = sum(row[19] <= half_width(row[:19], 0.9) for row in errors)
    assert abs(float(covered) / 2000 - 0.9) < 4 * math.sqrt(0.09 / 2000)


def test_intervals_are_fitted_stored_and_applied(rows, task):
    truth = samples((torch.randn(30, 2, dtype=torch.float64) * torch.tensor([20.0, 0.2])).tolist())
    targets = task.targets(truth, NAMES)
    outputs = targets + 0.3 * torch.randn(30, 2)
    fitted = task.calibrated(outputs, targets)
    gaps = (task.values(outputs) - task.values(targets)).abs()
    expected = tuple(sorted(column)[28 - 1] for column in gaps.T.tolist())  # ⌈31 · 0.9⌉ = 28
    assert fitted == replace(task, half_widths=expected)
    assert resolve(TaskSpec.from_dict(json.loads(json.dumps(fitted.spec.to_dict())))) == fitted
    assert fitted.calibrated(outputs[:8], targets[:8]) == task, "eight images are too few for 90 %"
    assert replace(fitted, level=0.8).calibrated(outputs[:4], targets[:4]).half_widths == tuple(
        gaps[:4].amax(0).tolist()
    )
    (prediction,) = fitted.decode(outputs[:1], NAMES)
    columns = ["age", "age_low", "age_high", "height", "height_low", "height_high"]
    assert list(fitted.columns(NAMES, 5)) == columns
    row = dict(zip(columns, fitted.cells(prediction, NAMES, 5), strict=True))
    for name, width in zip(NAMES, expected, strict=True):
        assert row[f"{name}_high"] - row[name] == pytest.approx(width)
        assert row[name] - row[f"{name}_low"] == pytest.approx(width)
        assert fitted.to_dict(prediction)["intervals"][name] == [row[f"{name}_low"], row[f"{name}_high"]]
    assert fitted.cells(fitted.failed("b.png", "broken"), NAMES, 5) == [None] * 6
    taken = fitted.columns(("age", "age_low"), 5)
    assert len(taken) == 6, "a number with the name of an interval's end has a column of its own"


def test_coverage_against_a_loop(task):
    fitted = replace(task, half_widths=(12.0, 0.1))
    targets, outputs = torch.randn(40, 2), torch.randn(40, 2)
    metrics = fitted.metrics(NAMES)
    metrics.update(outputs, targets)
    found = metrics.compute()
    for column, row in enumerate(found.per_value):
        pairs = zip(fitted.decode(outputs, NAMES), task.values(targets).tolist(), strict=True)
        inside = [each.intervals[column][0] <= truth[column] <= each.intervals[column][1] for each, truth in pairs]
        assert 0 < row.coverage == sum(inside) / 40 < 1
        assert row.width == 2 * fitted.half_widths[column]
    assert found.headline()["coverage"] == pytest.approx(sum(row.coverage for row in found.per_value) / 2)
    assert "coverage of 90 % intervals, age" in fitted.summary(found)
    assert "Prediction intervals" in fitted.report(found)[2]
    plain = task.metrics(NAMES)
    plain.update(outputs, targets)
    without = plain.compute()
    assert "coverage" not in without.headline()
    assert "a level of 90 % needs at least 9 validation images" in task.summary(without)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_quantiles_equal_scikit_learn(quantile, task):
    """The pinball loss, and D² against the best of all constants, found by trying each."""
    learned = replace(task, quantile=quantile)
    targets, outputs = torch.randn(37, 2), torch.randn(37, 2)
    metrics = learned.metrics(NAMES)
    metrics.update(outputs, targets)
    found = metrics.compute()
    truth, predicted = task.values(targets).numpy(), task.values(outputs).numpy()
    for column, row in enumerate(found.per_value):
        loss = sk.mean_pinball_loss(truth[:, column], predicted[:, column], alpha=quantile)
        constants = (np.full(37, value) for value in truth[:, column])
        best = min(sk.mean_pinball_loss(truth[:, column], constant, alpha=quantile) for constant in constants)
        assert row.pinball_loss == pytest.approx(loss, rel=1e-12)
        assert row.d2 == pytest.approx(1 - loss / best, rel=1e-12)
        assert row.at_most == np.mean(truth[:, column] <= predicted[:, column])
        assert row.r2 is None
    of_all = sk.mean_pinball_loss(targets.double().numpy(), outputs.double().numpy(), alpha=quantile)
    assert found.loss == pytest.approx(of_all, rel=1e-12)
    assert found.quality == found.d2 == pytest.approx(np.mean([row.d2 for row in found.per_value]))
    assert "always answering the quantile" in found.baseline().answer
    assert bool(learned.calibrated(outputs, targets).half_widths) == (quantile == 0.5)
    assert learned.count_words(NAMES) == f"2 numbers, the quantile {quantile:g} of each"
    assert "D²" in learned.summary(found)
    json.dumps(found.to_dict(), allow_nan=False)


def test_fitted_intervals_are_not_those_of_another_training():
    old = Regression(mean=(10.0,), scale=(2.0,), half_widths=(1.0,), quantile=0.5)
    new = Regression(mean=(10.5,), scale=(2.0,), level=0.8)
    assert new.continued(old.spec) == Regression(mean=(10.0,), scale=(2.0,), level=0.8)
