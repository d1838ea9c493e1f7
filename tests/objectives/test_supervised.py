import math

import pytest
import torch
from sklearn.metrics import mean_pinball_loss
from torch import nn

from vitrail.data.loader import Batch
from vitrail.data.preprocess import Preprocess
from vitrail.data.samples import FileAt, Sample
from vitrail.errors import VitrailError
from vitrail.objectives.class_losses import (
    AsymmetricLoss,
    BinaryCrossEntropy,
    CrossEntropy,
    balanced_weights,
    logit_shift,
    sampling_weights,
)
from vitrail.objectives.objective import Labels
from vitrail.objectives.regression import RegressionConfig
from vitrail.objectives.supervised import Supervised, SupervisedConfig
from vitrail.tasks.classification import Classification
from vitrail.tasks.regression import Regression


def batch(targets):
    return Batch(torch.randn(len(targets), 5), torch.tensor(targets))


def test_one_label_against_a_loop(seeded):
    model, data = nn.Linear(5, 3), batch([[1.0, 0, 0], [0, 1.0, 0], [0, 0.3, 0.7]])
    loss = Supervised(model, CrossEntropy(label_smoothing=0.1))(data, 0).total
    logs = torch.log_softmax(model(data.pixels), 1)
    expected = 0.0
    for row, target in zip(logs, data.targets, strict=True):
        expected -= sum((0.9 * t + 0.1 / 3) * log for t, log in zip(target, row, strict=True)) / 3
    torch.testing.assert_close(loss, expected)


def test_many_labels_against_a_loop(seeded):
    model, data = nn.Linear(5, 3), batch([[1.0, 1.0, 0], [0, 0, 0]])
    loss = Supervised(model, BinaryCrossEntropy())(data, 0).total
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


def test_the_asymmetric_loss_against_a_loop_in_float64():
    logits = torch.randn(6, 4, dtype=torch.float64) * 3
    targets = (torch.rand(6, 4) < 0.4).double()
    weights = torch.tensor([1.0, 2.0, 0.5, 1.5], dtype=torch.float64)
    total = 0.0
    for row, truth in zip(logits.tolist(), targets.tolist(), strict=True):
        for logit, label, weight in zip(row, truth, weights.tolist(), strict=True):
            p = 1 / (1 + math.exp(-logit))
            shifted = max(p - 0.05, 0.0)
            positive, negative = (1 - p) ** 1.5 * math.log(p), shifted**4 * math.log(1 - shifted)
            total -= weight * (positive if label else negative)
    loss = AsymmetricLoss(gamma_positive=1.5, gamma_negative=4.0, margin=0.05, class_weights=weights)
    assert loss(logits, targets).item() == pytest.approx(total / 24, rel=1e-9)
    plain = AsymmetricLoss(gamma_positive=0.0, gamma_negative=0.0, margin=0.0)
    torch.testing.assert_close(plain(logits, targets), BinaryCrossEntropy()(logits, targets))
    assert torch.autograd.gradcheck(lambda x: loss(x, targets), logits.clone().requires_grad_())


def test_extreme_logits_have_a_finite_asymmetric_loss_and_gradient():
    logits = torch.tensor([[80.0, -80.0, 0.0]], requires_grad=True)
    loss = AsymmetricLoss()(logits, torch.tensor([[0.0, 1.0, 0.0]]))
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_binary_cross_entropy_of_exclusive_classes_counts_each_mixed_class():
    logits = torch.randn(3, 4)
    mixed = torch.tensor([[0.3, 0.7, 0, 0], [1.0, 0, 0, 0], [0, 0, 0.5, 0.5]])
    truth = mixed.gt(0).float()
    smooth = 0.8 * truth + 0.2 / 4
    wanted = -(smooth * logits.sigmoid().log() + (1 - smooth) * (1 - logits.sigmoid()).log()).mean()
    loss = BinaryCrossEntropy(label_smoothing=0.2, smoothed=1 / 4, any_label=True)
    torch.testing.assert_close(loss(logits, mixed), wanted)


def test_logit_adjustment_is_bayes_rule_for_the_frequencies():
    logits, target = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    prior = torch.tensor([0.7, 0.2, 0.1])
    shift = logit_shift([70, 20, 10], 1.0)
    assert shift is not None
    odds = logits.exp() * prior
    wanted = -(odds.gather(1, target[:, None])[:, 0] / odds.sum(1)).log().mean()
    torch.testing.assert_close(CrossEntropy(shift=shift)(logits, torch.eye(3)[target]), wanted)
    assert logit_shift([70, 20, 10], 0.0) is None


def test_sampling_weights_draw_each_class_equally():
    one = torch.eye(3)[[0] * 12 + [1] * 6 + [2] * 2]
    weights = sampling_weights(one)
    assert (weights[:, None] * one).sum(0).tolist() == pytest.approx([20 / 3] * 3)
    many = torch.tensor([[1.0, 0], [1, 0], [1, 1], [0, 0], [0, 0]])
    assert sampling_weights(many).tolist() == pytest.approx([10 / 16, 10 / 16, 30 / 16, 15 / 16, 15 / 16])


def labels(targets, kind="one"):
    samples = [Sample("", tuple(row.nonzero().flatten().tolist()), None, FileAt("")) for row in targets]
    return Labels(Classification(labels=kind), tuple("abcdefgh"[: targets.shape[1]]), samples, Preprocess())


def test_the_loss_follows_from_labels_and_options():
    one, many = labels(torch.eye(3)), labels(torch.ones(3, 3), "many")
    model = nn.Linear(5, 3)
    assert isinstance(SupervisedConfig().build(model, one).loss, CrossEntropy)
    assert isinstance(SupervisedConfig().build(model, many).loss, BinaryCrossEntropy)
    bce = SupervisedConfig(loss="bce").build(model, one).loss
    assert isinstance(bce, BinaryCrossEntropy)
    assert (bce.any_label, bce.smoothed) == (True, 1 / 3)
    assert isinstance(SupervisedConfig(loss="asymmetric").build(model, many).loss, AsymmetricLoss)
    assert SupervisedConfig().sample_weights(one) is None
    assert SupervisedConfig(sampler="balanced").sample_weights(one).tolist() == [1, 1, 1]
    with pytest.raises(VitrailError, match="several labels: use bce or asymmetric"):
        SupervisedConfig(loss="cross_entropy").build(model, many)
    with pytest.raises(VitrailError, match="logit_adjustment is for cross_entropy, and this run has bce"):
        SupervisedConfig(logit_adjustment=1.0).build(model, many)


def test_mixing_is_for_training_only(seeded):
    model, data = nn.Identity(), Batch(torch.randn(4, 3), torch.eye(3)[[0, 1, 2, 0]])
    objective = Supervised(model, CrossEntropy(), mix=lambda pixels, targets: (pixels * 0, targets.flip(1)))
    plain = Supervised(model, CrossEntropy())(data, 0).total
    assert torch.equal(objective.eval()(data, 0).total, plain)
    torch.testing.assert_close(objective.train()(data, 0).total, torch.tensor(3.0).log())


@pytest.mark.parametrize(("delta", "expected"), [(None, (0.25 + 4 + 0 + 9) / 4), (1.0, (0.125 + 1.5 + 0 + 2.5) / 4)])
def test_numbers_by_hand(delta, expected):
    """Errors 0.5, 2, 0 and 3: squared; or 0.5 e² below 1 and |e| − 0.5 beyond (Huber, 1964)."""
    config = RegressionConfig(loss="mse" if delta is None else "huber", delta=delta or 1.0)
    data = Batch(torch.tensor([[0.5, 2.0], [1.0, -3.0]]), torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    assert config.build(nn.Identity(), None)(data, 0).total.item() == pytest.approx(expected)


@pytest.mark.parametrize("quantile", [0.05, 0.5, 0.9])
def test_the_loss_of_a_quantile_equals_scikit_learn(quantile):
    numbers, targets = torch.randn(50, 3, dtype=torch.float64), torch.randn(50, 3, dtype=torch.float64)
    config = RegressionConfig(loss="quantile", quantile=quantile)
    expected = mean_pinball_loss(targets.numpy(), numbers.numpy(), alpha=quantile)
    assert config.error_loss(numbers, targets).item() == pytest.approx(expected, rel=1e-12)
    objective = config.build(nn.Identity(), None)
    assert objective(Batch(numbers.float(), targets.float()), 0).total.item() == pytest.approx(expected, rel=1e-5)


def test_a_quantile_without_its_loss_is_a_sentence():
    with pytest.raises(
        VitrailError, match=r"objective.quantile is 0.9 and objective.loss mse.*objective.loss=quantile"
    ):
        RegressionConfig(quantile=0.9).task_of(Regression())
    assert RegressionConfig(quantile=0.9, loss="quantile").task_of(Regression()).quantile == 0.9


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (RegressionConfig, {"quantile": 1.0}),
        (SupervisedConfig, {"label_smoothing": 1.0}),
        (SupervisedConfig, {"mixup": -1.0}),
        (SupervisedConfig, {"gamma_negative": -1.0}),
        (SupervisedConfig, {"margin": 1.0}),
        (SupervisedConfig, {"mix_rate": 1.5}),
        (RegressionConfig, {"delta": 0.0}),
    ],
)
def test_options_out_of_range_are_sentences(kind, options):
    (name,) = options
    with pytest.raises(VitrailError, match=f"objective.{name} is"):
        kind(**options)
