"""Whitening filters against the covariance of what they give, and as training sets them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import vitrail
from vitrail.data.preprocess import Preprocess
from vitrail.nn import ScaleFreeConv, Whitening
from vitrail.training.recipe import Recipe
from vitrail.training.training_data import Reading, read_data
from vitrail.training.whitening import fit_whitening

QUICK = Recipe(
    model="whitened_small_32",
    image_size=16,
    overrides={"stem": ((8,), (16,)), "embed_dim": 16, "depth": 1, "num_heads": 2},
    steps=1,
    batch_size=16,
    precision="float32",
    workers=0,
    device="cpu",
)


def test_outputs_are_uncorrelated_with_variance_one_and_come_with_both_signs():
    smooth = F.avg_pool2d(torch.randn(64, 3, 20, 20), 3, stride=1)  # neighbours are correlated
    layer = Whitening(3)
    layer.fit(smooth)
    output = layer(smooth)
    assert output.shape == (64, 24, 17, 17)
    half = output[:, :12].double().transpose(0, 1).flatten(1)
    eye = torch.eye(12, dtype=torch.float64)
    covariance = torch.cov(half)
    assert (covariance - covariance.diagonal().diag()).abs().max() < 1e-3
    assert (covariance - eye).abs().max() < 0.06  # 5e-4 is added to variances of 0.01 and more
    assert torch.equal(output[:, 12:], -output[:, :12])


def gram(layer: Whitening) -> torch.Tensor:
    """Products of the filters, which do not depend on the signs of eigenvectors."""
    return layer.weight.flatten(1).T @ layer.weight.flatten(1)


def test_images_can_be_added_in_parts_of_any_size():
    pixels = torch.rand(70, 2, 9, 7)
    whole, parts = Whitening(2, 3), Whitening(2, 3)
    whole.fit(pixels)
    sums = parts.moments()
    for part in pixels.split((1, 40, 29)):
        sums.add(part)
    parts.fit(sums)
    torch.testing.assert_close(gram(parts), gram(whole), atol=1e-4, rtol=1e-5)
    patches = pixels.unfold(2, 3, 1).unfold(3, 3, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 18).double().numpy()
    np.testing.assert_allclose(sums.covariance(), np.cov(patches.T, bias=True), atol=1e-12)


def test_training_reads_a_few_images_at_a_time(tmp_path: Path, monkeypatch):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (12, 12, 3), dtype=np.uint8) for _ in range(200)]
    source = vitrail.source_from_images(images, [index % 2 for index in range(200)], class_names=("a", "b"))
    data, sizes, batch = read_data(source, Reading()), [], Preprocess.batch

    def counted(self, images):
        pixels = batch(self, images)
        sizes.append(len(pixels))
        return pixels

    monkeypatch.setattr(Preprocess, "batch", counted)
    layer, expected = Whitening(3), Whitening(3)
    fit = Preprocess(image_size=(8, 8), mean=(0.5,) * 3, std=(0.25,) * 3)
    fit_whitening(layer, data, fit, seed=0)
    assert max(sizes) <= 64
    assert sum(sizes) == len(data.train)
    read = data.train.reader(3)
    expected.fit(torch.stack([fit(read(index)) for index in range(len(data.train))]))
    torch.testing.assert_close(gram(layer), gram(expected), atol=1e-4, rtol=1e-5)


def test_a_direction_without_variance_stays_finite():
    layer = Whitening(1)
    layer.fit(torch.full((2, 1, 8, 8), 0.5))
    assert layer.weight.isfinite().all()


def test_filters_start_as_the_identity_of_the_first_channels():
    image = torch.randn(2, 3, 8, 8)
    assert torch.equal(ScaleFreeConv(3, 5)(image)[:, :3], image)
    assert torch.equal(ScaleFreeConv(3, 2)(image), image[:, :2])


def test_blocks_start_as_the_identity_and_the_grid_is_that_of_the_stem():
    model = vitrail.create_model("whitened_small_32").eval()
    pixels = torch.randn(1, 3, 30, 25)
    tokens = model.embed(pixels)
    assert tokens.grid == model.embed.patches.grid((30, 25)) == (7, 6)
    for block in model.encoder.blocks:
        assert torch.equal(block(tokens).x, tokens.x)


@pytest.mark.exhaustive
def test_training_fits_the_filters_once_and_fine_tuning_keeps_them(tmp_path: Path):
    fresh = vitrail.create_model("whitened_small_32", in_channels=1).embed.patches.layers[0].weight
    vitrail.train("digits", QUICK, out=tmp_path / "a")
    weight = vitrail.load(tmp_path / "a").model.embed.patches.layers[0].weight
    assert not weight.requires_grad
    assert (weight.flatten(1).norm(dim=1) - fresh.flatten(1).norm(dim=1)).abs().max() > 0.1
    recipe = replace(QUICK, model=None, overrides={}, seed=1)
    vitrail.train("digits", recipe, weights=tmp_path / "a", out=tmp_path / "b")
    assert torch.equal(vitrail.load(tmp_path / "b").model.embed.patches.layers[0].weight, weight)


@pytest.mark.exhaustive
def test_the_same_seed_gives_the_same_filters(tmp_path: Path):
    for name in "ab":
        vitrail.train("digits", QUICK, out=tmp_path / name)
    first, second = (vitrail.load(tmp_path / name).model.state_dict() for name in "ab")
    assert all(torch.equal(first[name], second[name]) for name in first)
