"""Attacks against the closed form of a linear model and a plain loop."""

import pytest
import torch
from torch import nn

from vitrail.errors import VitrailError
from vitrail.lens.adversarial import fgsm, pgd


def subject():
    """A small curved model, pictures from 0 to 1 with some at the borders, labels."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 8), nn.GELU(), nn.Linear(8, 3)).double()
    pictures = torch.rand(5, 3, 4, 4, dtype=torch.float64)
    pictures[0, 0] = 0
    pictures[1, 1] = 1
    return model, pictures, torch.tensor([0, 1, 2, 1, 0])


def test_fgsm_is_the_best_within_epsilon_for_a_linear_model():
    weight = torch.randn(2, 12)
    pictures, labels = torch.full((1, 3, 2, 2), 0.5), torch.tensor([0])
    found = fgsm(lambda x: x.flatten(1) @ weight.T, pictures, labels, 0.1)
    # Two classes: the loss grows with the other's score less one's own, whatever the picture.
    expected = 0.5 + 0.1 * (weight[1] - weight[0]).sign()
    assert torch.allclose(found.flatten(), expected)


def test_pgd_equals_a_plain_loop():
    model, pictures, labels = subject()
    epsilon, size = 0.05, 0.02
    worst = pictures.clone()
    for _ in range(4):
        for row in range(len(worst)):  # one picture after another: the batch must not matter
            one = worst[row : row + 1].clone().requires_grad_()
            loss = -model(one).log_softmax(1)[0, labels[row]]
            loss.backward()
            moved = worst[row] + size * one.grad[0].sign()
            moved = pictures[row] + (moved - pictures[row]).clamp(-epsilon, epsilon)
            worst[row] = moved.clamp(0, 1)
    found = pgd(model, pictures, labels, epsilon, steps=4, step_size=size, seed=None)
    assert torch.allclose(found, worst)


def test_attacks_stay_within_epsilon_and_the_picture_and_raise_the_loss():
    model, pictures, labels = subject()
    model.zero_grad()

    def loss(x):
        return nn.functional.cross_entropy(model(x), labels).item()

    one, many = fgsm(model, pictures, labels, 0.1), pgd(model, pictures, labels, 0.1, seed=3)
    for found in (one, many):
        assert (found - pictures).abs().max() <= 0.1 + 1e-9
        assert found.min() >= 0
        assert found.max() <= 1
        assert not found.requires_grad
    assert loss(many) >= loss(one) - 1e-3 > loss(pictures)
    assert torch.equal(many, pgd(model, pictures, labels, 0.1, seed=3))
    assert torch.equal(fgsm(model, pictures, labels, 0.0), pictures)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_mistakes_are_sentences():
    model, pictures, labels = subject()
    with pytest.raises(VitrailError, match="before normalisation"):
        fgsm(model, pictures * 2 - 1, labels, 0.1)
    with pytest.raises(VitrailError, match="negative"):
        fgsm(model, pictures, labels, -0.1)
    with pytest.raises(VitrailError, match="0 steps"):
        pgd(model, pictures, labels, 0.1, steps=0)
