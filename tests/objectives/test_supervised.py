import pytest
import torch
from torch import nn

from vitrail.data.loader import Batch
from vitrail.errors import VitrailError
from vitrail.objectives.regression import RegressionConfig
from vitrail.objectives.supervised import Supervised, SupervisedConfig, balanced_weights


def batch(targets):
    return Batch(torch.randn(len(targets), 5), torch.tensor(targets), list(range(len(targets))))


def test_one_label_against_a_loop(seeded):
    model, data = nn.Linear(5, 3), batch([[1.0, 0, 0], [0, 1.0, 0], [0, 0.3, 0.7]])
    loss = Supervised(model, one_label=True, label_smoothing=0.1)(data, 0).total
    logs = torch.log_softmax(model(data.pixels), 1)
    expected = 0.0
    for row, target in zip(logs, data.targets, strict=True):
        expected -= sum((0.9 * t + 0.1 / 3) * log for t, log in zip(target, row, strict=True)) / 3
    torch.testing.assert_close(loss, expected)


def test_many_labels_against_a_loop(seeded):
    model, data = nn.Linear(5, 3), batch([[1.0, 1.0, 0], [0, 0, 0]])
    loss = Supervised(model, one_label=False)(data, 0).total
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


def test_mixing_is_for_training_only(seeded):
    model, data = nn.Identity(), Batch(torch.randn(4, 3), torch.eye(3)[[0, 1, 2, 0]], [0, 1, 2, 3])
    objective = Supervised(model, one_label=True, mix=lambda pixels, targets: (pixels * 0, targets.flip(1)))
    plain = Supervised(model, one_label=True)(data, 0).total
    assert torch.equal(objective.eval()(data, 0).total, plain)
    torch.testing.assert_close(objective.train()(data, 0).total, torch.tensor(3.0).log())


@pytest.mark.parametrize(("delta", "expected"), [(None, (0.25 + 4 + 0 + 9) / 4), (1.0, (0.125 + 1.5 + 0 + 2.5) / 4)])
def test_numbers_by_hand(delta, expected):
    """Errors 0.5, 2, 0 and 3: squared; or 0.5 e² below 1 and |e| − 0.5 beyond (Huber, 1964)."""
    config = RegressionConfig(loss="mse" if delta is None else "huber", delta=delta or 1.0)
    data = Batch(torch.tensor([[0.5, 2.0], [1.0, -3.0]]), torch.tensor([[0.0, 0.0], [1.0, 0.0]]), [0, 1])
    assert config.build(nn.Identity(), None)(data, 0).total.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (SupervisedConfig, {"label_smoothing": 1.0}),
        (SupervisedConfig, {"mixup": -1.0}),
        (SupervisedConfig, {"mix_rate": 1.5}),
        (RegressionConfig, {"delta": 0.0}),
    ],
)
def test_options_out_of_range_are_sentences(kind, options):
    (name,) = options
    with pytest.raises(VitrailError, match=f"objective.{name} is"):
        kind(**options)
