import pytest
import torch
from torch import nn

from vitrail.data.loader import Batch
from vitrail.objectives.supervised import Supervised, balanced_weights


def batch(targets):
    return Batch(torch.randn(len(targets), 5), torch.tensor(targets), list(range(len(targets))))


def test_single_label_against_a_loop(seeded):
    model, data = nn.Linear(5, 3), batch([[1.0, 0, 0], [0, 1.0, 0], [0, 0.3, 0.7]])
    loss = Supervised("single", label_smoothing=0.1)(model, data, 0).total
    logs = torch.log_softmax(model(data.pixels), 1)
    expected = 0.0
    for row, target in zip(logs, data.targets, strict=True):
        expected -= sum((0.9 * t + 0.1 / 3) * log for t, log in zip(target, row, strict=True)) / 3
    torch.testing.assert_close(loss, expected)


def test_multi_label_against_a_loop(seeded):
    model, data = nn.Linear(5, 3), batch([[1.0, 1.0, 0], [0, 0, 0]])
    loss = Supervised("multi")(model, data, 0).total
    p = torch.sigmoid(model(data.pixels))
    expected = -(data.targets * p.log() + (1 - data.targets) * (1 - p).log()).mean()
    torch.testing.assert_close(loss, expected)


def test_balanced_weights():
    assert balanced_weights([5, 1], 0) is None
    weights = balanced_weights([30, 10, 60], 1)
    assert weights is not None
    counts = torch.tensor([30.0, 10, 60])
    assert (weights * counts).tolist() == pytest.approx([100 / 3] * 3)
    assert balanced_weights([4, 16], 0.5)[0] / balanced_weights([4, 16], 0.5)[1] == pytest.approx(2)
