"""Shifts and shuffles: models for which the answer is known."""

import pytest
import torch
from torch import nn

from vitrail.data.seeds import derive, permutation
from vitrail.errors import VitrailError
from vitrail.lens.probe.order import correlation, order_dependence, shift_equivariance, shuffle_patches
from vitrail.models.registry import create_model
from vitrail.nn import Tokens


def tiny_vit():
    sizes = {"image_size": 16, "patch_size": 4, "embed_dim": 16, "num_heads": 2, "depth": 2, "num_classes": 5}
    return create_model("vit_tiny_patch16_224", **sizes).eval()


def test_a_convolution_follows_shifts_of_its_stride_exactly():
    model = nn.Sequential(nn.Conv2d(3, 6, 4, stride=4), nn.ReLU())
    found = shift_equivariance(model, torch.randn(2, 3, 16, 32), "0", [0, 4, 8, 2])
    assert [row.pixels for row in found] == [0, 4, 8, 2]
    assert [row.moved for row in found[:3]] == pytest.approx([1, 1, 1], abs=1e-6)
    assert found[3].moved < 0.9
    assert found[0].still == pytest.approx(1)
    assert abs(found[1].still) < 0.3


def test_a_vit_without_positions_follows_whole_patches_and_one_with_them_does_not():
    model, pixels = tiny_vit(), torch.randn(2, 3, 16, 16)
    positions = next(part for name, part in model.named_parameters() if name.endswith("positions.weight"))
    with torch.no_grad():
        positions.mul_(100)
        assert shift_equivariance(model, pixels, "blocks.1", [4])[0].moved < 0.9
        positions.zero_()
    assert shift_equivariance(model, pixels, "blocks.1", [4])[0].moved == pytest.approx(1, abs=1e-5)


def test_half_a_cell_is_interpolated():
    model = nn.Sequential(nn.AvgPool2d(4))
    waves = torch.sin(torch.arange(64) / 64 * 2 * torch.pi).expand(1, 1, 8, 64)
    assert shift_equivariance(model, waves, "0", [2])[0].moved > 0.999


def test_correlation_equals_numpys():
    one, other = torch.randn(2, 1, 3, 4), torch.randn(2, 1, 3, 4)
    import numpy as np

    assert correlation(one, other) == pytest.approx(np.corrcoef(one.flatten(), other.flatten())[0, 1])
    assert correlation(one, torch.ones_like(one)) == 0


def test_shuffling_keeps_every_patch_whole():
    pixels = torch.arange(2 * 3 * 8 * 12, dtype=torch.float32).view(2, 3, 8, 12)
    mixed = shuffle_patches(pixels, (4, 3), seed=1)

    def patches(x):
        return {x[0, :, r : r + 4, c : c + 3].numpy().tobytes() for r in (0, 4) for c in range(0, 12, 3)}

    assert patches(mixed) == patches(pixels)
    assert not torch.equal(mixed, pixels)
    assert torch.equal(mixed, shuffle_patches(pixels, (4, 3), seed=1))


def test_a_vit_sees_a_set_and_only_positions_tell_order():
    model, pixels = tiny_vit(), torch.randn(3, 3, 16, 16)
    positions = next(part for name, part in model.named_parameters() if name.endswith("positions.weight"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
        found = order_dependence(model, pixels, 4)
        assert found.patches > 1e-3
        assert found.tokens < 1e-5
        positions.zero_()
    assert order_dependence(model, pixels, 4).patches < 1e-5
    assert not model.embed._forward_hooks


class FirstPatch(nn.Module):
    """Says class 1 where the first token is bright, class 0 where it is dark, and is sure of it."""

    def __init__(self):
        super().__init__()
        self.embed = Patches()

    def forward(self, pixels):
        bright = self.embed(pixels).patches[:, 0].mean(dim=1)
        return 1000 * torch.stack([0.5 - bright, bright - 0.5], dim=1)


class Patches(nn.Module):
    def forward(self, pixels):
        cells = nn.functional.unfold(pixels, 4, stride=4).movedim(1, 2)
        return Tokens(cells, (pixels.shape[2] // 4, pixels.shape[3] // 4), prefix=0)


def test_order_dependence_is_the_share_of_answers_that_change():
    pixels = torch.zeros(6, 1, 8, 12)
    for picture in range(6):  # the bright patch of each is another one
        row, column = divmod(picture, 3)
        pixels[picture, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 1
    for seed in range(5):
        moved = (shuffle_patches(pixels, 4, seed)[:, 0, 0, 0] != pixels[:, 0, 0, 0]).double().mean().item()
        along = permutation(6, derive(seed, "tokens"))[0]  # which token comes first decides for all
        found = order_dependence(FirstPatch(), pixels, 4, seed)
        assert found.patches == pytest.approx(moved)
        assert found.tokens == pytest.approx(0 if along == 0 else 2 / 6)


def test_a_mixer_has_order_from_its_mixing():
    sizes = {"image_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_classes": 5}
    model = create_model("mixer_s16_224", **sizes).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    assert order_dependence(model, torch.randn(2, 3, 16, 16), 4).tokens > 1e-3


def test_mistakes_are_sentences():
    with pytest.raises(VitrailError, match="do not tile"):
        shuffle_patches(torch.zeros(1, 3, 10, 10), 4, 0)
    model = tiny_vit()
    with pytest.raises(VitrailError, match="half of the width"):
        shift_equivariance(model, torch.zeros(1, 3, 16, 16), "blocks.0", [8])
    with pytest.raises(VitrailError, match="no map"):
        shift_equivariance(model, torch.zeros(1, 3, 16, 16), "head", [4])
    with pytest.raises(VitrailError, match="no module `embed`"):
        order_dependence(nn.Sequential(nn.Flatten(), nn.Linear(48, 3)), torch.zeros(1, 3, 4, 4), 2)
