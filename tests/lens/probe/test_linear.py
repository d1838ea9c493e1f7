"""Linear probes against the normal equations."""

import pytest
import torch

from vitrail.errors import VitrailError
from vitrail.lens.probe.linear import linear_probe


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
