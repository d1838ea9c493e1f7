"""Intervals, baselines and the sentences on what a result is worth."""

import numpy as np
import pytest
import torch
from scipy import stats

from vitrail.tasks.classification import Classification
from vitrail.tasks.classification_metrics import score
from vitrail.tasks.regression import Regression
from vitrail.tasks.worth import mean_margin, ratio_margin, wilson

NAMES = ("daisy", "dandelion", "rose")


@pytest.mark.parametrize(("hits", "count"), [(0, 1), (1, 1), (1, 2), (3, 3), (86, 351), (350, 351), (0, 40), (40, 40)])
def test_the_interval_of_an_accuracy_is_wilsons(hits: int, count: int) -> None:
    expected = stats.binomtest(hits, count).proportion_ci(method="wilson")
    assert wilson(hits, count) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_margin_of_a_mean_is_196_standard_errors() -> None:
    values = torch.tensor([1.0, 2.0, 4.0, 9.0])
    assert mean_margin(values) == pytest.approx(stats.norm.ppf(0.975) * stats.sem(values.numpy()))
    assert mean_margin(values[:1]) is None


def test_the_margin_of_a_ratio_is_the_spread_of_resampled_ratios() -> None:
    random = np.random.default_rng(0)
    above, below = random.exponential(size=400), random.exponential(size=400) + 1
    drawn = random.integers(0, 400, (4000, 400))
    ratios = above[drawn].mean(1) / below[drawn].mean(1)
    expected = stats.norm.ppf(0.975) * ratios.std()
    assert ratio_margin(torch.from_numpy(above), torch.from_numpy(below)) == pytest.approx(expected, rel=0.05)


def predicted(guesses: list[int], truths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    return 9 * torch.eye(3)[guesses], torch.eye(3)[truths]


def test_a_constant_answer_is_named() -> None:
    found = score(*predicted([1] * 100, [0] * 30 + [1] * 45 + [2] * 25), NAMES)
    assert found.majority == ("dandelion", 0.45)
    assert found.cautions() == [
        "The result is no better than always answering dandelion (45.00 %).",
        "The model predicts dandelion for every image.",
    ]
    assert ("always answering dandelion", "45.00 %") in found.facts()
    assert found.facts()[0] == ("top-1 accuracy (95 % interval)", "45.00 % (35.6–54.8 %)")
    assert found.to_dict()["majority_rate"] == 0.45
    text = Classification().summary(found)
    assert "45.00 % (35.6–54.8 %)" in text
    assert "no better than always answering dandelion" in text


def test_a_result_within_its_uncertainty_is_not_clearly_better() -> None:
    truths = [0] * 40 + [1] * 60
    found = score(*predicted([0] * 10 + [1] * 90, truths), NAMES)  # 70 % right, and 60 % are dandelions
    assert wilson(70, 100)[0] == pytest.approx(0.604, abs=1e-3)
    assert found.cautions() == []
    found = score(*predicted([0] * 8 + [1] * 92, truths), NAMES)
    assert found.cautions() == [
        "The result is not clearly better than always answering dandelion (60.00 %), which is within its uncertainty."
    ]


def test_one_image_is_too_few() -> None:
    found = score(*predicted([1], [1]), NAMES)
    assert found.majority is None
    assert found.cautions() == ["The result is measured on 1 image only: another sample may give a very different one."]
    assert "100.00 % (20.7–100.0 %)" in Classification().summary(found)


def test_many_labels_are_compared_with_a_random_order() -> None:
    targets = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]] * 10)
    found = score(4 * targets - 2, targets, NAMES, "many")
    assert found.prevalence == 0.5
    assert found.facts()[1] == ("a random order", "50.00 %"), "beside the number that it is compared with"
    assert found.cautions() == []
    assert score(2 - 4 * targets, targets, NAMES, "many").cautions() == [
        "The result is no better than a random order (50.00 %)."
    ]


def test_a_regression_is_compared_with_the_mean() -> None:
    task = Regression(mean=(40.0,), scale=(10.0,))
    truth = torch.linspace(-2, 2, 60)[:, None]
    noise = torch.randn(60, 1, generator=torch.Generator().manual_seed(0))

    def evaluated(output: torch.Tensor) -> tuple[dict[str, str], list[str]]:
        metrics = task.metrics(["age"])
        metrics.update(output, truth)
        found = metrics.compute()
        return dict(found.facts()), found.cautions()

    facts, cautions = evaluated(truth + 0.1 * noise)
    assert cautions == []
    errors = np.abs(noise[:, 0].numpy())
    mean, margin = errors.mean(), stats.norm.ppf(0.975) * stats.sem(errors)
    assert facts["mean absolute error, age"] == f"{mean:.4g} ± {margin:.4g}"
    assert evaluated(noise)[1] == ["The result is no better than always answering the mean (R² 0)."]
