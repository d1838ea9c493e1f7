"""Filters for other patch sizes, against what the paper says of them and against timm."""

import pytest
import torch
import torch.nn.functional as F
from timm.layers.patch_embed import resample_patch_embed
from torch import Tensor

from vitrail.nn import FlexiPatchEmbed, PatchEmbed, PositionalPatchEmbed, resize_patch_weights

DOUBLE = {"dtype": torch.float64}


def resized(patches: Tensor, size: tuple[int, int], mode: str = "bicubic", antialias: bool = True) -> Tensor:
    return F.interpolate(patches, size=size, mode=mode, antialias=antialias)


@pytest.mark.parametrize("old", [(16, 16), (8, 12), (5, 7)])
@pytest.mark.parametrize("new", [(16, 16), (8, 8), (32, 32), (12, 20), (10, 4)])
def test_as_in_timm(old: tuple[int, int], new: tuple[int, int]) -> None:
    weight = torch.randn(6, 3, *old)
    ours, theirs = resize_patch_weights(weight, new), resample_patch_embed(weight, list(new))
    assert ours.shape == (6, 3, *new)
    assert (ours - theirs).abs().max() < 2e-5 * theirs.abs().max().clamp(min=1)


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("new", [(16, 16), (9, 20)])
def test_larger_patches_give_exactly_what_smaller_ones_gave(mode: str, antialias: bool, new: tuple[int, int]) -> None:
    """Equation 2 of the paper: <B x, w'> = <x, w> for every x."""
    weight, patches = torch.randn(4, 3, 8, 8, **DOUBLE), torch.randn(10, 3, 8, 8, **DOUBLE)
    filters = resize_patch_weights(weight, new, mode=mode, antialias=antialias)
    larger = resized(patches, new, mode, antialias)
    assert (F.conv2d(larger, filters) - F.conv2d(patches, weight)).abs().max() < 1e-10


@pytest.mark.parametrize("new", [(16, 16), (5, 5), (12, 6)])
def test_closed_form(new: tuple[int, int]) -> None:
    """(Bᵀ)⁺ w of the whole matrix that resizes a patch, which is no product of rows and columns here."""
    identity = torch.eye(64, **DOUBLE).reshape(64, 1, 8, 8)
    matrix = resized(identity, new).reshape(64, -1)  # Bᵀ
    weight = torch.randn(4, 3, 8, 8, **DOUBLE)
    expected = (weight.reshape(4, 3, 64) @ torch.linalg.pinv(matrix).T).reshape(4, 3, *new)
    assert (resize_patch_weights(weight, new) - expected).abs().max() < 1e-10


def test_smaller_patches_give_the_nearest_for_white_noise() -> None:
    weight = torch.randn(1, 1, 8, 8, **DOUBLE)
    filters = resize_patch_weights(weight, (5, 5))
    identity = torch.eye(64, **DOUBLE).reshape(64, 1, 8, 8)

    def loss(candidate: Tensor) -> float:  # the expectation of (<x, w> - <B x, w'>)² over x ~ N(0, 1)
        return float((weight.flatten() - F.conv2d(resized(identity, (5, 5)), candidate).flatten()).square().sum())

    least = loss(filters)
    assert all(loss(filters + 0.01 * torch.randn_like(filters)) > least for _ in range(20))


def test_tubelets_types_and_nothing_to_do() -> None:
    weight = torch.randn(4, 3, 2, 8, 8, **DOUBLE)
    larger = resize_patch_weights(weight, (16, 12))
    assert torch.equal(larger[:, :, 1], resize_patch_weights(weight[:, :, 1], (16, 12)))
    assert resize_patch_weights(weight, (8, 8)) is weight
    assert resize_patch_weights(weight.bfloat16(), (4, 4)).dtype == torch.bfloat16


def test_positional_patch_embed_is_patches_and_positions() -> None:
    embed = PositionalPatchEmbed(4, 8, (4, 2), (16, 12))
    pixels = torch.randn(2, 4, 16, 12)
    tokens = embed(pixels)
    assert tokens.grid == (4, 6)
    assert torch.equal(tokens.x, embed.patches(pixels).x + embed.positions.weight)
    assert embed(torch.randn(2, 4, 32, 20)).grid == (8, 10)


def test_flexible_patches_train_at_every_size() -> None:
    sizes = ((16, 16), (8, 8), (4, 4))
    embed = FlexiPatchEmbed(3, 8, (8, 8), sizes, stored_size=(16, 16))
    pixels = torch.randn(2, 3, 32, 48)
    grids = {embed(pixels).grid for _ in range(40)}
    assert grids == {(2, 3), (4, 6), (8, 12)}
    embed(pixels).x.square().sum().backward()
    assert embed.project.weight.grad.abs().sum() > 0
    embed.eval()
    plain = PatchEmbed(3, 8, (8, 8))
    plain.project.weight.data = resize_patch_weights(embed.project.weight.data, (8, 8))
    plain.project.bias.data = embed.project.bias.data
    assert torch.allclose(embed(pixels).x, plain(pixels).x, atol=1e-5)
    with pytest.raises(ValueError, match="36 pixels is not a multiple of patch 8"):
        embed(torch.randn(1, 3, 36, 32))
