"""Linear models on features against the normal equations and scikit-learn."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.preprocessing import StandardScaler

from vitrail.errors import VitrailError
from vitrail.evaluation.probe.linear import linear_probe
from vitrail.evaluation.probe.logistic import choose_strength, fit_best_logistic, fit_logistic, sigmoid_loss
from vitrail.evaluation.probe.ridge import STRENGTHS, fit_best_ridge, fit_ridge


def clouds(count=120, seed=0):
    """Three classes that a plane can part, in 6 dimensions of very different sizes; one never changes."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    centres = torch.eye(3, 6) * 2
    points = centres[labels] + torch.randn(count, 6, generator=random) * 0.7
    points[:, 5] = 7
    return points * torch.tensor([1.0, 100, 0.01, 1, 1, 1]), labels


def test_ridge_equals_the_normal_equations():
    (train, known), (test, asked) = clouds(), clouds(90, seed=1)
    mean, deviation = train.double().mean(0), train.double().std(0, correction=0)
    x, y = ((part.double() - mean)[:, :5] / deviation[:5] for part in (train, test))
    targets = torch.where(known[:, None] == torch.arange(3), 1.0, -1.0).double()
    shift = targets.mean(0)
    weights = torch.linalg.solve(x.T @ x + 2.0 * torch.eye(5), x.T @ (targets - shift))
    expected = ((y @ weights + shift).argmax(1) == asked).double().mean().item()
    assert linear_probe(train, known, test, asked, strength=2.0).test == pytest.approx(expected)
    assert expected > 0.8


def test_logistic_tells_them_apart_too():
    found = linear_probe(*clouds(), *clouds(90, seed=1), kind="logistic")
    assert found.test > 0.8
    assert found.train > 0.8


def test_too_little_is_a_sentence():
    points, labels = clouds()
    with pytest.raises(VitrailError, match="two classes"):
        linear_probe(points, torch.zeros_like(labels), points, labels)
    with pytest.raises(VitrailError, match="no image"):
        linear_probe(points, labels, points[:0], labels[:0])


def ones(labels, classes=3):
    return (labels[:, None] == torch.arange(classes)).float()


@pytest.mark.parametrize("strength", [0.1, 10.0])
def test_ridge_equals_scikit_learns(strength):
    (train, known), (test, _) = clouds(), clouds(90, seed=1)
    scaler = StandardScaler().fit(train.double())
    expected = RidgeClassifier(alpha=strength).fit(scaler.transform(train.double()), known)
    found = fit_ridge(train, 2 * ones(known) - 1, strength)(test)
    scores = torch.from_numpy(expected.decision_function(scaler.transform(test.double())))
    torch.testing.assert_close(found, scores, rtol=1e-6, atol=1e-6)


def test_ridge_has_the_same_solution_for_fewer_images_than_features():
    random = torch.Generator().manual_seed(0)
    few, targets = torch.randn(9, 20, generator=random), torch.randn(9, 2, generator=random)
    found = fit_ridge(few, targets, 3.0)
    x = (few.double() - few.double().mean(0)) / few.double().std(0, correction=0)
    shift = targets.double().mean(0)
    weight = torch.linalg.solve(x.T @ x + 3.0 * torch.eye(20, dtype=torch.float64), x.T @ (targets.double() - shift))
    torch.testing.assert_close(found(few), x @ weight + shift)


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_equals_scikit_learns(classes):
    (train, known), (test, asked) = clouds(), clouds(90, seed=1)
    train, known, test = train[known < classes], known[known < classes], test[asked < classes]
    strength = 0.5 / len(train)
    scaler = StandardScaler().fit(train.double())
    # Of two classes scikit-learn penalises one weight, the difference of ours: half of the penalty.
    model = LogisticRegression(C=(2 if classes == 2 else 1) / 0.5, tol=1e-10, max_iter=2000)
    expected = model.fit(scaler.transform(train.double()), known).predict_proba(scaler.transform(test.double()))
    found = fit_logistic(train, ones(known, classes), strength)(test).softmax(1)
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=0, atol=1e-4)


def test_a_logistic_probe_of_two_classes_has_scikit_learns_accuracy():
    (train, known), (test, asked) = clouds(), clouds(90, seed=1)
    train, known, test, asked = train[known < 2], known[known < 2], test[asked < 2], asked[asked < 2]
    scaler = StandardScaler().fit(train.double())
    model = LogisticRegression(C=1 / 3, tol=1e-8).fit(scaler.transform(train.double()), known)
    found = linear_probe(train, known, test, asked, kind="logistic", strength=3.0)
    assert found.test == pytest.approx(model.score(scaler.transform(test.double()), asked))


def test_many_labels_are_a_logistic_regression_for_each():
    (train, known), (test, _) = clouds(), clouds(90, seed=1)
    targets = torch.stack([(known == 0), (known != 2)], dim=1).float()
    scaler = StandardScaler().fit(train.double())
    found = fit_logistic(train, targets, 1 / len(train), sigmoid_loss)(test).sigmoid()
    for column in range(2):
        model = LogisticRegression(C=1.0, tol=1e-10, max_iter=2000)
        model.fit(scaler.transform(train.double()), targets[:, column])
        expected = model.predict_proba(scaler.transform(test.double()))[:, 1]
        torch.testing.assert_close(found[:, column], torch.from_numpy(expected), rtol=0, atol=1e-4)


def test_another_loss_is_minimised_too():
    """Weighted classes: at the minimum the gradient of the weighted loss, written out, is zero."""
    train, known = clouds()
    weights, targets = torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64), ones(known).double()
    found = fit_logistic(train, targets, 0.01, torch.nn.CrossEntropyLoss(weights))
    deviation = train.double().std(0, correction=0)
    x = ((train.double() - train.double().mean(0)) / deviation.where(deviation > 0, torch.inf)).numpy()
    gap = (found(train).softmax(1) - targets) * weights[known][:, None]
    slope = gap.numpy().T @ x / len(x) + 0.01 * (found.weight * deviation).numpy()
    assert abs(slope).max() < 1e-5
    assert abs(gap.sum(0)).max() / len(x) < 1e-5


def test_the_strength_of_ridge_has_the_lowest_held_out_error():
    random = torch.Generator().manual_seed(3)
    points = torch.randn(50, 30, generator=random)
    targets = points[:, :2] + torch.randn(50, 2, generator=random)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1)).tolist()
    held, kept = order[:10], order[10:]
    errors = [
        (fit_ridge(points[kept], targets[kept], 40 * each)(points[held]) - targets[held]).square().mean().item()
        for each in STRENGTHS
    ]
    fit, strength = fit_best_ridge(points, targets, seed=1)
    assert strength == STRENGTHS[errors.index(min(errors))]
    torch.testing.assert_close(fit(points), fit_ridge(points, targets, 50 * strength)(points))


def test_the_strength_has_the_lowest_held_out_loss():
    """Noise that a weak penalty would fit: the choice equals that of a loop over fits from zero."""
    random = torch.Generator().manual_seed(2)
    labels = torch.arange(60) % 3
    points = torch.randn(60, 40, generator=random) + 0.8 * torch.eye(3, 40)[labels]
    held = torch.randperm(60, generator=torch.Generator().manual_seed(7))[:12].tolist()
    kept = [row for row in torch.randperm(60, generator=torch.Generator().manual_seed(7)).tolist() if row not in held]
    losses = []
    for strength in STRENGTHS:
        logits = fit_logistic(points[kept], ones(labels[kept]), strength)(points[held])
        losses.append(torch.nn.functional.cross_entropy(logits, labels[held]).item())
    assert choose_strength(points, ones(labels), seed=7) == STRENGTHS[losses.index(min(losses))]
    assert losses.index(min(losses)) < len(STRENGTHS) - 1
    fit, strength = fit_best_logistic(points, ones(labels), seed=7)
    torch.testing.assert_close(fit(points), fit_logistic(points, ones(labels), strength)(points))


def test_features_of_inference_mode_can_be_fitted():
    train, known = clouds()
    with torch.inference_mode():
        features = (train * 2).double()
    fit = fit_logistic(features, ones(known), 0.1)
    torch.testing.assert_close(fit(features), fit_logistic((train * 2).double(), ones(known), 0.1)(train * 2))
