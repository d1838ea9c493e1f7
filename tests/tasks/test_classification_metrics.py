"""Metrics of classification against scikit-learn and plain loops."""

import json
import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from vitrail.errors import VitrailError
from vitrail.tasks.classification_metrics import ClassMetrics, average_precision, score

NAMES = [f"class {index}" for index in range(7)]


def one_hot(labels, classes):
    """(n, K): 1 for the labels of a row."""
    targets = torch.zeros(len(labels), classes)
    for row, own in enumerate(labels):
        targets[row, list(own)] = 1
    return targets


def random_single(samples: int = 200, classes: int = 7, seed: int = 0) -> tuple[torch.Tensor, list[tuple[int, ...]]]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(classes, (samples,), generator=generator)
    logits = torch.randn(samples, classes, generator=generator)
    logits[torch.arange(samples), target] += 1
    return logits, [(index,) for index in target.tolist()]


def test_single_label_equals_scikit_learn():
    logits, labels = random_single()
    found = score(logits, one_hot(labels, 7), NAMES)
    target = [index for (index,) in labels]
    predicted = logits.argmax(1).tolist()
    probability = logits.double().softmax(1).numpy()
    assert found.count == 200
    assert found.top1 == pytest.approx(sk.accuracy_score(target, predicted))
    assert found.top5 == pytest.approx(sk.top_k_accuracy_score(target, probability, k=5))
    assert found.loss == pytest.approx(sk.log_loss(target, probability))
    assert found.confusion == tuple(map(tuple, sk.confusion_matrix(target, predicted).tolist()))
    precision, recall, f1, support = sk.precision_recall_fscore_support(target, predicted)
    for index, row in enumerate(found.per_class):
        assert (row.name, row.support) == (NAMES[index], support[index])
        assert (row.precision, row.recall, row.f1) == pytest.approx((precision[index], recall[index], f1[index]))
    assert found.macro_f1 == pytest.approx(f1.mean())
    assert found.quality == found.top1


def test_calibration_error_equals_a_plain_loop():
    logits, labels = random_single(300)
    found = score(logits * 3, one_hot(labels, 7), NAMES)
    bins = [[] for _ in range(15)]
    for row, (target,) in zip((logits * 3).double().softmax(1).tolist(), labels, strict=True):
        confidence = max(row)
        place = next(index for index in range(15) if confidence <= (index + 1) / 15 + 1e-15)
        bins[place].append((confidence, row.index(confidence) == target))
    expected = 0.0
    for inside, row in zip(bins, found.reliability, strict=True):
        assert row.count == len(inside)
        if inside:
            confidence = sum(c for c, _ in inside) / len(inside)
            accuracy = sum(right for _, right in inside) / len(inside)
            assert (row.confidence, row.accuracy) == pytest.approx((confidence, accuracy))
            expected += len(inside) / len(labels) * abs(accuracy - confidence)
    assert found.ece == pytest.approx(expected)


def test_certain_and_right_is_perfectly_calibrated():
    found = score(torch.eye(3) * 1000, torch.eye(3), ["a", "b", "c"])
    assert (found.top1, found.ece, found.loss) == (1, 0, 0)
    assert found.reliability[-1].count == 3


def test_multi_label_equals_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(120, 5, generator=generator) < 0.3
    # Rounded, so that there are ties.
    logits = (torch.randn(120, 5, generator=generator) + 2 * target).mul(4).round() / 4 - 0.6
    found = score(logits, target.float(), list("abcde"), "many")
    predicted, truth = (logits > 0).numpy(), target.numpy()
    precisions = [sk.average_precision_score(truth[:, i], logits[:, i].numpy()) for i in range(5)]
    assert [row.average_precision for row in found.per_class] == pytest.approx(precisions)
    assert found.mean_average_precision == pytest.approx(np.mean(precisions))
    assert found.quality == found.mean_average_precision
    assert found.micro_f1 == pytest.approx(sk.f1_score(truth, predicted, average="micro"))
    assert found.macro_f1 == pytest.approx(sk.f1_score(truth, predicted, average="macro"))
    assert found.subset_accuracy == pytest.approx(sk.accuracy_score(truth, predicted))
    probability = logits.double().sigmoid().numpy()
    expected = -np.where(truth, np.log(probability), np.log1p(-probability)).mean()
    assert found.loss == pytest.approx(expected)
    assert found.top1 is None
    assert "confusion" not in found.to_dict()


def test_what_is_not_defined_is_none():
    # Class 2 does not occur and is never predicted; class 1 occurs and is never predicted.
    found = score(torch.tensor([[2.0, 1, 0], [2, 1, 0]]), one_hot([(0,), (1,)], 3), ["a", "b", "c"])
    absent, missed = found.per_class[2], found.per_class[1]
    assert (absent.precision, absent.recall, absent.f1) == (None, None, None)
    assert (missed.precision, missed.recall, missed.f1) == (None, 0, 0)
    assert found.macro_f1 == pytest.approx((2 / 3 + 0) / 2)
    assert average_precision(torch.randn(4), torch.zeros(4, dtype=torch.bool)) is None


def test_fewer_than_five_classes_one_sample_and_ties():
    found = score(torch.zeros(1, 2), one_hot([(1,)], 2), ["a", "b"])
    assert (found.top1, found.top5) == (0, 1)
    assert found.loss == pytest.approx(math.log(2))
    tied = score(torch.zeros(7, 7), torch.eye(7), NAMES)
    assert (tied.top1, tied.top5) == pytest.approx((1 / 7, 5 / 7))


def test_the_dictionary_is_plain_json():
    logits, labels = random_single(20)
    values = json.loads(json.dumps(score(logits, one_hot(labels, 7), NAMES).to_dict(), allow_nan=False))
    assert values["count"] == 20
    assert len(values["confusion"]) == 7


@pytest.mark.parametrize(
    ("logits", "targets", "words"),
    [
        (torch.zeros(0, 2), torch.zeros(0, 2), "no labelled images"),
        (torch.zeros(2, 2), one_hot([(0,), ()], 2), "sample 1 has 0 labels"),
        (torch.zeros(2, 2), one_hot([(0,), (0, 1)], 2), "sample 1 has 2 labels"),
        (torch.zeros(2, 3), torch.eye(2), r"\(2, 3\).*need \(2, 2\)"),
        (torch.tensor([[0, math.nan]]), one_hot([(0,)], 2), "logits of 1 of 1 images are not finite"),
    ],
)
def test_errors_name_the_value_and_the_rule(logits, targets, words):
    with pytest.raises(VitrailError, match=words):
        score(logits, targets, ["a", "b"])


@pytest.mark.parametrize("labels", ["one", "many"])
def test_batches_are_scored_as_one(labels):
    logits, single = random_single(50)
    targets = one_hot(single, 7)
    metrics = ClassMetrics(NAMES, labels)
    for rows in (slice(0, 20), slice(20, 40), slice(40, 50)):
        metrics.update(logits[rows], targets[rows])
    assert metrics.compute() == score(logits, targets, NAMES, labels)


def test_the_headline_has_top5_only_where_it_can_be_wrong():
    five = score(torch.eye(5), torch.eye(5), list("abcde"))
    assert list(five.headline()) == ["loss", "top1", "ece"]
    assert list(score(torch.eye(7), torch.eye(7), NAMES).headline()) == ["loss", "top1", "top5", "ece"]
