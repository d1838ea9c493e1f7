"""Effective rank and spread of embeddings whose values are known."""

import numpy as np
import pytest
import torch

from vitrail.evaluation.probe.collapse import effective_rank, spread


def test_rank_of_equal_singular_values_is_their_number():
    basis = torch.linalg.qr(torch.randn(20, 20, generator=torch.Generator().manual_seed(0)))[0]
    assert effective_rank(basis[:, :5] @ torch.eye(5, 8)) == pytest.approx(5, abs=1e-4)
    assert effective_rank(torch.ones(7, 3)) == pytest.approx(1, abs=1e-4)
    assert effective_rank(torch.zeros(7, 3)) == 1


def test_rank_equals_the_entropy_of_a_loop():
    points = torch.randn(30, 6, generator=torch.Generator().manual_seed(1)) * torch.arange(1, 7)
    values = np.linalg.svd(points.double().numpy(), compute_uv=False)
    shares = values / values.sum()
    assert effective_rank(points) == pytest.approx(np.exp(-sum(p * np.log(p) for p in shares)))


def test_spread_is_one_for_even_directions_and_zero_for_one():
    random = torch.Generator().manual_seed(2)
    assert spread(torch.randn(4000, 16, generator=random)) == pytest.approx(1, abs=0.01)
    assert spread(torch.randn(50, 1, generator=random).abs() * torch.ones(50, 16)) == pytest.approx(0, abs=1e-7)
    points = torch.randn(40, 5, generator=random).double().numpy() + 1
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    assert spread(torch.from_numpy(points)) == pytest.approx(unit.std(axis=0).mean() * np.sqrt(5))
