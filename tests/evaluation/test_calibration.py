"""Calibration against plain loops and known temperatures."""

import math

import pytest
import torch
import torch.nn.functional as F

from vitrail.errors import VitrailError
from vitrail.evaluation.calibration import calibration, cross_fitted
from vitrail.tasks.classification_metrics import reliability
from vitrail.tasks.temperature import fit_temperature


def drawn(count=4000, temperature=1.0):
    """Logits whose labels are drawn from softmax(logits / temperature): that temperature is right for them."""
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(count, 5, generator=random, dtype=torch.float64) * 3
    labels = torch.multinomial((logits / temperature).softmax(1), 1, generator=random)[:, 0]
    return logits, labels


def test_ece_and_brier_equal_plain_loops():
    logits, labels = drawn(200)
    found = calibration(logits, labels)
    bins = [[] for _ in range(15)]
    brier = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        total = sum(math.exp(z) for z in row)
        probabilities = [math.exp(z) / total for z in row]
        brier += sum((probability - (place == label)) ** 2 for place, probability in enumerate(probabilities))
        best = max(probabilities)
        bins[min(14, math.ceil(best * 15) - 1)].append((best, probabilities.index(best) == label))
    gaps = [abs(sum(right for _, right in each) - sum(sure for sure, _ in each)) for each in bins]
    assert found.ece == pytest.approx(sum(gaps) / 200)
    assert found.brier == pytest.approx(brier / 200)
    assert sum(row.count for row in found.bins) == 200


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_is_found_again(temperature):
    logits, labels = drawn(temperature=temperature)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(temperature, rel=0.08)
    losses = [F.cross_entropy(logits / t, labels).item() for t in (found * 0.98, found, found * 1.02)]
    assert losses[1] == min(losses)


def test_the_ends_are_given_where_there_is_no_best():
    logits = torch.eye(3) * 4
    assert fit_temperature(logits, torch.arange(3)) == pytest.approx(0.01)
    assert fit_temperature(logits, torch.tensor([1, 2, 0])) == pytest.approx(100)


def test_halves_are_cooled_by_each_other():
    logits, labels = drawn(temperature=2.5)
    cooled = cross_fitted(logits, labels, seed=1)
    ratios = (logits / cooled)[:, 0]
    assert len(ratios.round(decimals=6).unique()) == 2
    assert ratios.tolist() == pytest.approx([2.5] * len(ratios), rel=0.1)
    assert calibration(cooled, labels).ece < calibration(logits, labels).ece


def test_nothing_to_measure_is_a_sentence():
    for measure in (calibration, fit_temperature, cross_fitted):
        with pytest.raises(VitrailError, match="image"):
            measure(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))


def test_the_temperature_of_two_classes_is_known():
    # Scores of ±2 that are right in 7 of 10: sigmoid(4 / T) = 0.7.
    target = torch.tensor([0] * 7 + [1] * 3)
    logits = torch.tensor([2.0, -2.0]).expand(10, 2)
    assert fit_temperature(logits, target) == pytest.approx(4 / math.log(7 / 3), rel=1e-9)


def test_confidence_at_the_ends_and_at_the_edges_of_bins():
    bins = reliability(torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64), torch.tensor([False, True, False]))
    assert (bins[0].count, bins[0].confidence, bins[0].accuracy) == (1, 0, 0)
    assert (bins[-1].count, bins[-1].confidence, bins[-1].accuracy) == (2, 1, 0.5)
    assert all((row.count, row.confidence, row.accuracy) == (0, 0, 0) for row in bins[1:-1])
    # (low, high]: what lies on an edge belongs to the lower bin.
    edges = torch.arange(1, 16, dtype=torch.float64) / 15
    assert [row.count for row in reliability(edges, torch.ones(15, dtype=torch.bool))] == [1] * 15


def test_sure_and_right_sure_and_wrong_and_not_sure_at_all():
    sure = torch.tensor([[1000.0, 0, 0, 0]])
    right, wrong = (calibration(sure, torch.tensor([label])) for label in (0, 3))
    assert (right.ece, right.brier, right.loss) == (0, 0, 0)
    assert (wrong.ece, wrong.brier, wrong.loss) == (1, 2, 1000)
    even = calibration(torch.zeros(4, 4), torch.arange(4))
    assert even.ece == pytest.approx(0)
    assert even.brier == pytest.approx(1 - 1 / 4)
    assert even.loss == pytest.approx(math.log(4))
