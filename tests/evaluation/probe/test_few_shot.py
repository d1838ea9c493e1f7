"""Few shots against scikit-learn's ridge on the drawn images."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.preprocessing import StandardScaler

from vitrail.data.seeds import derive, permutation
from vitrail.evaluation.probe.few_shot import few_shot

from .test_linear import clouds


def test_accuracies_are_those_of_ridge_on_a_few_images_of_each_class():
    (train, known), (test, asked) = clouds(90), clouds(60, seed=1)
    (found,) = few_shot(train, known, test, asked, shots=(5,), seed=4)
    expected = []
    for draw in range(3):
        order = permutation(90, derive(4, "few shots", draw))
        rows = [row for each in range(3) for row in [row for row in order if known[row] == each][:5]]
        scaler = StandardScaler().fit(train[rows].double())
        model = RidgeClassifier(alpha=6.0).fit(scaler.transform(train[rows].double()), known[rows])
        expected.append(model.score(scaler.transform(test.double()), asked))
    assert found.accuracies == pytest.approx(expected)
    assert found.mean == pytest.approx(np.mean(expected))
    margin = 4.3027 * np.std(expected, ddof=1) / np.sqrt(3)
    low, high = found.interval
    assert low == pytest.approx(np.mean(expected) - margin, abs=1e-4)
    assert high == pytest.approx(min(1, np.mean(expected) + margin), abs=1e-4)


def test_a_class_with_too_few_images_is_named():
    train, known = clouds(30)
    few = torch.cat([(known != 1).nonzero().flatten(), (known == 1).nonzero().flatten()[:2]])
    one, five = few_shot(train[few], known[few], train, known, shots=(1, 5))
    assert one.lacking is None
    assert len(one.accuracies) == 3
    assert (five.lacking, five.mean, five.interval) == ((1, 2), None, None)


def test_classes_need_not_be_numbered_from_zero():
    train, known = clouds(90)
    plain = few_shot(train, known, train, known, shots=(3,))
    assert few_shot(train, known * 5 + 2, train, known * 5 + 2, shots=(3,)) == plain
