"""ViT with other attentions: what its rows share with ViT."""

from dataclasses import replace

import pytest
import torch

import vitrail
from vitrail.errors import VitrailError
from vitrail.models.registry import model_config
from vitrail.models.vit_attention import ATTENTIONS
from vitrail.planning.flops import count

SMALL = {"image_size": 64, "depth": 2, "embed_dim": 24, "num_classes": 5}


@pytest.mark.parametrize("attention", ["local", "neighbourhood", "strided", "sparse", "linear"])
def test_weights_of_a_vit_fit(attention: str) -> None:
    vit = vitrail.create_model("vit_tiny_patch16_224", **SMALL)
    other = vitrail.create_model(f"vit_{attention}_tiny_patch16_224", **SMALL)
    other.load_state_dict(vit.state_dict())


@pytest.mark.parametrize("attention", ["local", "neighbourhood", "sparse"])
def test_a_pattern_that_shows_everything_is_vit(attention: str) -> None:
    vit = vitrail.create_model("vit_tiny_patch16_224", **SMALL).double().eval()
    everything = {"window_size": 9, "block_size": 16}
    other = vitrail.create_model(f"vit_{attention}_tiny_patch16_224", **SMALL, **everything).double().eval()
    other.load_state_dict(vit.state_dict())
    pixels = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        assert (other(pixels) - vit(pixels)).abs().max() <= 1e-12


@pytest.mark.parametrize("depth", [5, 6])
def test_flops_of_blocks_that_take_turns_are_counted_by_turns(depth: int) -> None:
    config = model_config("vit_strided_tiny_patch16_224", depth=depth, image_size=96)
    assert count(config) == count(replace(config, drop_path=0.1))  # with drop path every block is counted


def test_an_unknown_attention_names_the_nearest() -> None:
    with pytest.raises(VitrailError, match="did you mean linear"):
        vitrail.create_model("vit_linear_tiny_patch16_224", attention="linaer")
    assert "linear" in ATTENTIONS
