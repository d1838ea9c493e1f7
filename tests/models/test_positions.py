"""The kind of positions, and how they get to another grid, are part of a ViT's config and so of its checkpoint."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.parity.references import randomise
from vitrail.checkpoint.contract import Checkpoint, load, save
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.models.registry import model_config

SMALL: dict[str, Any] = {"embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 9}


def test_the_recipe_travels_with_the_checkpoint(tmp_path: Path) -> None:
    """A table that is kept at its own grid, resampled DINOv2's way."""
    recipe = {"position_grid": (5, 5), "position_offset": 0.1, "position_antialias": False}
    model = randomise(model_config("vit_small_patch16_224", image_size=64, **SMALL, **recipe).build())
    save(Checkpoint(model, (), Preprocess()), tmp_path / "x")
    again = load(tmp_path / "x", image_size=96).model
    assert again.embed.parts.positions.weight.shape == (1, 26, 48)
    pixels = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        assert torch.equal(again(pixels), model(pixels))
    plain = load(tmp_path / "x", position_offset=0.0).model
    with torch.no_grad():
        assert (plain(pixels) - model(pixels)).abs().max() > 1e-4


@pytest.mark.parametrize("positions", ["learned", "axes", "sinusoidal", "sincos", "none"])
def test_every_kind_of_positions_in_a_vit(positions: str, tmp_path: Path) -> None:
    config = model_config("vit_small_patch16_224", image_size=64, positions=positions, **SMALL)
    model = randomise(config.build())
    save(Checkpoint(model, (), Preprocess()), tmp_path / "x")
    pixels = torch.randn(2, 3, 96, 80)
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "x").model(pixels), model(pixels))
        bigger = load(tmp_path / "x", image_size=(96, 80)).model(pixels)
        assert (bigger - model(pixels)).abs().max() < 1e-5
        turned = model(pixels.flip(3).unflatten(3, (5, 16)).flip(4).flatten(3))  # the patches in another order
        assert ((turned - model(pixels)).abs().max() < 1e-5) == (positions == "none")


def test_unknown_positions() -> None:
    with pytest.raises(VitrailError, match="did you mean sincos"):
        model_config("vit_small_patch16_224", positions="sincoss").build()
