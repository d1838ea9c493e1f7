"""Occlusion against one forward pass after another, and tokens that nobody looks at."""

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from vitrail.errors import VitrailError
from vitrail.lens.attribution.occlusion import occlusion, sees_places_only_in_embedding, squares_of
from vitrail.nn import Tokens

from .plain import build, pictures, plain_vit, vit

CLASSES = torch.tensor([3, 1])
SHAPE = {"image_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 5}


def spread(losses: dict[tuple[int, int], float], side: int, grid: int = 4) -> Tensor:
    """The mean loss of the squares that each patch is in."""
    result = torch.zeros(grid, grid, dtype=torch.float64)
    for row in range(grid):
        for column in range(grid):
            over = [loss for (y, x), loss in losses.items() if y <= row < y + side and x <= column < x + side]
            result[row, column] = sum(over) / len(over)
    return result


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("side", [1, 2])
def test_left_out_is_as_if_nobody_looked(mean: bool, side: int) -> None:
    """Tokens that are not there give what masked scores give: an independent way to the same."""
    model, pixels = vit("mean" if mean else "class"), pictures()
    found = occlusion(model, pixels, CLASSES, side=side, batch=7)
    with torch.no_grad():
        embedded, logits = model.embed(pixels).x, model(pixels)
        for picture in range(2):
            losses = {}
            for row in range(5 - side):
                for column in range(5 - side):
                    keep = torch.ones(4, 4, dtype=torch.bool)
                    keep[row : row + side, column : column + side] = False
                    keep = torch.cat([torch.ones(1, dtype=torch.bool), keep.flatten()])
                    rest = plain_vit(model, embedded[picture : picture + 1], mean, keep).logits
                    losses[row, column] = float((logits[picture] - rest[0])[CLASSES[picture]])
            torch.testing.assert_close(found[picture], spread(losses, side), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("name", "baseline"), [("vit_tiny_patch16_224", 0.4), ("beit_base_patch16_224", None)])
def test_under_cover_one_by_one(name: str, baseline: float | None) -> None:
    model, pixels = build(name, **SHAPE), pictures()
    found = occlusion(model, pixels, CLASSES, side=2, baseline=baseline, batch=7)
    with torch.no_grad():
        for picture in range(2):
            losses = {}
            for row in range(3):
                for column in range(3):
                    covered = pixels[picture : picture + 1].clone()
                    covered[:, :, 8 * row : 8 * row + 16, 8 * column : 8 * column + 16] = baseline or 0.0
                    change = model(pixels[picture : picture + 1]) - model(covered)
                    losses[row, column] = float(change[0, CLASSES[picture]])
            torch.testing.assert_close(found[picture], spread(losses, 2), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "overrides", "expected"),
    [
        ("vit_tiny_patch16_224", SHAPE, True),
        ("deit_tiny_distilled_patch16_224", SHAPE, True),
        ("vit_small_patch14_reg4_dinov2", SHAPE, True),
        ("simple_vit_tiny_patch16_224", SHAPE, True),
        ("cait_xxs24_224", SHAPE, True),
        ("beit_base_patch16_224", SHAPE, False),
        ("vit_small_patch16_dinov3", {**SHAPE, "num_heads": 3}, False),
        ("vit_sparse_tiny_patch16_224", {"image_size": 48}, False),
        ("swin_tiny_patch4_window7_224", {"image_size": 56, "depths": (1, 2), "num_heads": (2, 2)}, False),
        ("mixer_b16_224", {"image_size": 32, "patch_size": 8, "depth": 1, "embed_dim": 24}, False),
        ("convnext_tiny", {"image_size": 64, "depths": (1, 1, 1, 1), "embed_dim": 8}, False),
    ],
)
def test_which_models_can_do_without_tokens(name: str, overrides: dict, expected: bool) -> None:
    model, pixels = build(name, **overrides), pictures(1, overrides["image_size"])
    with torch.no_grad():
        embedded, whole = model.embed(pixels), model.forward_features(pixels)
        assert sees_places_only_in_embedding(model, embedded, whole) == expected
        if expected:
            prefix, patches = embedded.x[:, : embedded.prefix], embedded.x[:, embedded.prefix :]
            order = torch.randperm(patches.shape[1])
            mixed = Tokens(torch.cat([prefix, patches[:, order]], dim=1), (len(order),), embedded.prefix)
            outputs = (tree_leaves(output) for output in (model.head(model.encoder(mixed)), model(pixels)))
            for found, its in zip(*outputs, strict=True):
                torch.testing.assert_close(found, its)


def test_squares() -> None:
    assert squares_of((2, 3), (2, 2)).tolist() == [[0, 1, 3, 4], [1, 2, 4, 5]]
    assert squares_of((2, 2, 2), (2, 1, 2)).tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]
    with pytest.raises(VitrailError, match="squares of 3 × 3 do not fit a grid of 2 × 3: choose a smaller side"):
        squares_of((2, 3), (3, 3))
    with pytest.raises(VitrailError, match="no token would be left"):
        occlusion(vit(), pictures(), CLASSES, side=4)
