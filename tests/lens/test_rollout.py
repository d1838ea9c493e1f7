"""Rollout against plain loops in float64."""

import pytest
import torch
from torch import Tensor

from vitrail.errors import VitrailError
from vitrail.lens.observe import observe_attention
from vitrail.lens.rollout import class_token_map, rollout
from vitrail.models.registry import create_model

FUSE = {"mean": lambda values: sum(values) / len(values), "max": max, "min": min}


def loop_rollout(weights: list[Tensor], fusion: str, discard: float, prefix: int) -> Tensor:
    """One number at a time, as the paper says it."""
    batch, heads, n, _ = weights[0].shape
    result = torch.zeros(batch, n, n, dtype=torch.float64)
    for b in range(batch):
        product = [[float(i == j) for j in range(n)] for i in range(n)]
        for layer in weights:
            mixed = []
            for i in range(n):
                row = [FUSE[fusion]([float(layer[b, h, i, j]) for h in range(heads)]) for j in range(n)]
                order = sorted(range(prefix, n), key=lambda j: row[j])
                for j in order[: int(discard * (n - prefix))]:
                    row[j] = 0.0
                row = [0.5 * value + 0.5 * (i == j) for j, value in enumerate(row)]
                mixed.append([value / sum(row) for value in row])
            product = [[sum(mixed[i][m] * product[m][j] for m in range(n)) for j in range(n)] for i in range(n)]
        result[b] = torch.tensor(product, dtype=torch.float64)
    return result


@pytest.mark.parametrize("fusion", ["mean", "max", "min"])
@pytest.mark.parametrize(("discard", "prefix"), [(0.0, 1), (0.5, 1), (0.9, 2), (0.3, 0)])
def test_rollout_equals_loops_for_every_picture_of_a_batch(fusion: str, discard: float, prefix: int) -> None:
    generator = torch.Generator().manual_seed(3)
    weights = [torch.randn(3, 2, 7, 7, generator=generator, dtype=torch.float64).mul(2).softmax(-1) for _ in range(4)]
    expected = loop_rollout(weights, fusion, discard, prefix)
    torch.testing.assert_close(rollout(weights, fusion, discard, prefix=prefix), expected, rtol=0, atol=1e-12)
    single = torch.cat([rollout([w[b : b + 1] for w in weights], fusion, discard, prefix=prefix) for b in range(3)])
    assert torch.equal(rollout(iter(weights), fusion, discard, prefix=prefix), single)


def test_rollout_of_a_model() -> None:
    torch.manual_seed(0)
    model = create_model("vit_tiny_patch16_224", image_size=32, depth=3, embed_dim=24, num_heads=3).eval()
    with observe_attention(model) as seen:
        model(torch.randn(2, 3, 32, 32))
    flow = rollout(seen.values())
    expected = loop_rollout([w.double() for w in seen.values()], "mean", 0.0, 1)
    torch.testing.assert_close(flow.double(), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(flow.sum(-1), torch.ones(2, 5))
    assert class_token_map(flow, (2, 2), 1).shape == (2, 2, 2)


def test_class_token_map() -> None:
    weights = torch.arange(2 * 3 * 7 * 7, dtype=torch.float64).reshape(2, 3, 7, 7)
    assert torch.equal(class_token_map(weights, (2, 3), 1)[1, 2], weights[1, 2, 0, 1:].reshape(2, 3))
    assert torch.equal(class_token_map(weights[:, :, :1], (2, 3), 1), class_token_map(weights, (2, 3), 1))
    received = class_token_map(weights[..., 1:, 1:], (3, 2), 0)
    assert received[1, 0, 2, 1] == sum(weights[1, 0, row, 6] for row in range(1, 7)) / 6


def test_errors_name_the_way_out() -> None:
    good = torch.full((2, 1, 4, 4), 0.25)
    for arguments, message in [
        (([],), "at least one layer"),
        (([good[:, :, :1]],), "observe all rows"),
        (([good, good[:1]],), r"call model.eval\(\)"),
        (([good], "men"), "did you mean mean"),
        (([good], "mean", 1.0), "not in"),
    ]:
        with pytest.raises(VitrailError, match=message):
            rollout(*arguments)
    with pytest.raises(VitrailError, match="4 tokens are not 1 prefix tokens and a grid of 2 × 2"):
        class_token_map(good, (2, 2), 1)
