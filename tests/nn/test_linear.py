"""Linear attention against its sums written out, and against what it stands for."""

import math
import warnings
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import vitrail
from vitrail.nn import EluFeatures, LinearAttend, LinearAttention, RandomFeatures, Tokens, attention_weights

with warnings.catch_warnings():  # it still asks distutils for a version
    warnings.simplefilter("ignore", DeprecationWarning)
    from performer_pytorch.performer_pytorch import linear_attention, softmax_kernel

FEATURES = {"elu": EluFeatures, "random": lambda: RandomFeatures(8, 20)}


def given(length: int = 11, dim: int = 8, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = torch.randn(3, 2, 3, length, dim, dtype=dtype)
    return q, k, v


def by_loop(features: torch.nn.Module, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The normalised kernel, query by query."""
    out = torch.zeros_like(v)
    fq, fk = features(q, k)
    for picture in range(q.shape[0]):
        for head in range(q.shape[1]):
            for query in range(q.shape[2]):
                kernel = [float(fq[picture, head, query] @ key) for key in fk[picture, head]]
                rows = [weight * row for weight, row in zip(kernel, v[picture, head], strict=True)]
                out[picture, head, query] = sum(rows) / math.fsum(kernel)
    return out


@pytest.mark.parametrize("name", FEATURES)
def test_the_sums_in_another_order_are_the_normalised_kernel(name: str) -> None:
    attend = LinearAttend(FEATURES[name]())
    q, k, v = given()
    assert (attend(q, k, v) - by_loop(attend.features, q, k, v)).abs().max() <= 1e-12
    assert (attend(q.float(), k.float(), v.float()) - attend(q, k, v)).abs().max() <= 1e-5


def test_elu_features_are_as_published() -> None:
    q, k, _ = given()
    weights = LinearAttend(EluFeatures()).weights(q, k)

    def phi(x: float) -> float:
        return x + 1 if x > 0 else math.exp(x)

    products = [sum(phi(float(a)) * phi(float(b)) for a, b in zip(q[0, 1, 2], key, strict=True)) for key in k[0, 1]]
    expected = torch.tensor(products, dtype=torch.float64) / sum(products)
    assert (weights[0, 1, 2] - expected).abs().max() <= 1e-12


def test_random_features_are_those_of_performer_pytorch() -> None:
    features = RandomFeatures(8, 20, epsilon=0.0).double()
    q, k, v = given()
    theirs = [
        softmax_kernel(x, projection_matrix=features.directions, is_query=is_query, eps=0)
        for x, is_query in ((q, True), (k, False))
    ]
    assert (LinearAttend(features)(q, k, v) - linear_attention(*theirs, v)).abs().max() <= 1e-10


def test_directions_are_orthogonal_and_as_long_as_normal_ones() -> None:
    directions = RandomFeatures(16, 40).directions
    lengths = directions.norm(dim=1)
    units = directions / lengths[:, None]
    for block in units.split(16):
        assert torch.allclose(block @ block.T, torch.eye(len(block)), atol=1e-5)
    many = RandomFeatures(16, 1600).directions.norm(dim=1)
    assert float(many.square().mean()) == pytest.approx(16, rel=0.05)  # chi squared with 16 degrees of freedom
    assert float(many.square().var()) == pytest.approx(32, rel=0.2)


def test_the_error_against_softmax_falls_with_the_number_of_features() -> None:
    q, k, _ = given(length=30, dim=16)
    q, k = q / 2, k / 2  # the error grows exponentially with their lengths
    exact = attention_weights(q, k)

    def error(count: int) -> float:
        drawn = [LinearAttend(RandomFeatures(16, count).double()).weights(q, k) for _ in range(8)]
        return float(sum((weights - exact).square().mean() for weights in drawn) / 8) ** 0.5 / float(exact.std())

    errors = [error(count) for count in (16, 64, 256, 1024)]
    assert all(later < 0.75 * earlier for earlier, later in pairwise(errors))
    assert errors[-1] < 0.4


@pytest.mark.parametrize("size", [1.0, 30.0, 100.0])
def test_large_scores_are_those_of_float64(size: float) -> None:
    attend, (q, k, v) = LinearAttend(RandomFeatures(8)), given()
    low = attend((size * q).float(), (size * k).float(), v.float())
    exact = by_loop(attend.features.double(), size * q, size * k, v)
    assert (low.double() - exact).abs().max() <= 1e-3


class Largest(TorchDispatchMode):
    """The most elements that a tensor had."""

    seen = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        self.seen = max([self.seen, *(leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, Tensor))])
        return out


@pytest.mark.parametrize("name", FEATURES)
def test_memory_grows_with_the_length_not_with_its_square(name: str) -> None:
    branch = LinearAttention(16, 2, FEATURES[name]())

    def largest(side: int) -> int:
        with Largest() as mode:
            branch(Tokens(torch.randn(1, side * side, 16), (side, side))).x.sum().backward()
        return mode.seen

    assert largest(32) == 4 * largest(16) < 1024**2


@pytest.mark.parametrize("name", FEATURES)
def test_the_lens_shows_the_weights_that_were_used(name: str) -> None:
    branch = LinearAttention(16, 2, FEATURES[name]()).double()
    tokens = Tokens(torch.randn(2, 1 + 6, 16, dtype=torch.float64), (2, 3), 1)
    with vitrail.observe_attention(branch) as seen, torch.no_grad():
        out = branch(tokens).x
        _, _, v = branch.qkv(tokens)
        expected = branch.project((seen[0] @ v).transpose(1, 2).flatten(2))
    assert (out - expected).abs().max() <= 1e-12
    with vitrail.observe_attention(branch, rows="prefix", heads=1) as some, torch.no_grad():
        branch(tokens)
    assert torch.allclose(some[0], seen[0][:, 1:, :1])


def test_under_autocast_it_stays_precise() -> None:
    attend, (q, k, v) = LinearAttend(RandomFeatures(8)), given(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(attend(q, k, v), attend(q, k, v))
        assert attend(q.bfloat16(), k.bfloat16(), v.bfloat16()).dtype == torch.bfloat16
    exact = attend(q.bfloat16().double(), k.bfloat16().double(), v.bfloat16().double())
    with torch.autocast("cpu", torch.bfloat16):
        low = attend(q.bfloat16(), k.bfloat16(), v.bfloat16())
    assert (low.double() - exact).abs().max() <= 2**-8 * float(exact.abs().max())


def test_a_mask_is_refused() -> None:
    q, k, v = given()
    with pytest.raises(ValueError, match="takes no bias or mask"):
        LinearAttend(EluFeatures())(q, k, v, torch.zeros(11, 11, dtype=torch.float64))
