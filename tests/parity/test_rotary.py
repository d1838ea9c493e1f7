"""ViTs with rotary positions, EVA and EVA-02 against timm."""

import math
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import vitrail
from vitrail.errors import VitrailError
from vitrail.models import eva, rope_vit
from vitrail.models.registry import model_config
from vitrail.nn import GridRotaryPositions, LearnedRotaryPositions, Tokens

from .references import count, loaded, on_meta, randomise

SMALL: dict[str, Any] = {"embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 9}
ROPE = ["vit_base_patch16_rope_224", "vit_base_patch16_rope_mixed_224"]
ROPE += ["vit_small_patch16_rope_ape_224", "vit_small_patch16_rope_mixed_ape_224"]
# One row of every kind: plain, gated, with norms in the MLP and before the output projection, registers, no biases.
EVA = ["eva_giant_patch14_224", "eva_giant_patch14_clip_224", "eva02_tiny_patch14_224", "eva02_base_patch14_224"]
EVA += ["eva02_base_patch16_clip_224", "vit_medium_patch16_rope_reg1_gap_256", "vit_mediumd_patch16_rope_reg1_gap_256"]
EVA += ["vit_betwixt_patch16_rope_reg4_gap_256"]


def pair(name: str, size: tuple[int, int], **more: Any) -> tuple[nn.Module, nn.Module]:
    """Ours and timm's, small, with the same random weights."""
    theirs = randomise(timm.create_model(name, img_size=size, **SMALL, **more))
    return loaded(model_config(name, image_size=size, **SMALL), theirs), theirs


def assert_same(ours: nn.Module, theirs: nn.Module, pixels: Tensor) -> None:
    """In float32, in which timm computes the angles whatever its weights are."""
    with torch.no_grad():
        expected = theirs(pixels)
        assert expected.std() > 0.05
        assert (ours(pixels) - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("name", [*rope_vit.VARIANTS, *eva.VARIANTS])
def test_parameters_of_every_row(name: str) -> None:
    ours = on_meta(lambda: vitrail.create_model(name, num_classes=1000))
    assert count(ours) == count(on_meta(lambda: timm.create_model(name, num_classes=1000)))
    assert ours.config.image_size == timm.get_pretrained_cfg(name).input_size[1]


@pytest.mark.parametrize("name", [*ROPE, *EVA])
@pytest.mark.parametrize("rows", [4, 3])
def test_timm_at_any_size(name: str, rows: int) -> None:
    patch = 14 if "patch14" in name else 16
    size = (rows * patch, 5 * patch)
    ours, theirs = pair(name, size)
    assert_same(ours, theirs, torch.randn(2, 3, *size))


@pytest.mark.parametrize("name", [*ROPE, *EVA])
def test_a_folder_of_timm(name: str, tmp_path: Path) -> None:
    side = 56 if "patch14" in name else 64
    theirs = randomise(timm.create_model(name, img_size=side, **SMALL))
    timm.models._hub.save_for_hf(theirs, tmp_path, model_args=SMALL, safe_serialization=True)
    checkpoint = vitrail.load(tmp_path)
    assert not checkpoint.info["adapted"]
    assert_same(checkpoint.model, theirs, torch.randn(2, 3, side, side))


@pytest.mark.parametrize("name", [*ROPE, *EVA])
def test_bare_weights_need_a_name_unless_they_show_it(name: str, tmp_path: Path) -> None:
    side = 56 if "patch14" in name else 64
    theirs = randomise(timm.create_model(name, img_size=side, **SMALL))
    save_file(theirs.state_dict(), tmp_path / "x.safetensors")
    pixels = torch.randn(2, 3, side, side)
    named = vitrail.load(tmp_path / "x.safetensors", architecture=name, **SMALL, image_size=side)
    assert_same(named.model, theirs, pixels)
    if "mixed" in name:
        assert_same(vitrail.load(tmp_path / "x.safetensors", num_heads=3, image_size=side).model, theirs, pixels)
    elif "_ape_" in name:
        taken = vitrail.load(tmp_path / "x.safetensors", num_heads=3, image_size=side)
        assert "taken as DeiT III; pass architecture" in " ".join(taken.info["adapted"])
    else:
        with pytest.raises(VitrailError, match="as rotary positions have no tensors: pass architecture"):
            vitrail.load(tmp_path / "x.safetensors", num_heads=3)


def test_angles_by_hand() -> None:
    """Channels 2 i and 2 i + 1 turn by place * base ** (-4 i / d); a prefix token does not."""
    tokens = Tokens(torch.zeros(1, 7, 8), grid=(2, 3), prefix=1)
    ones = torch.ones(1, 1, 7, 8, dtype=torch.float64)
    turned, _ = GridRotaryPositions(8, base=100.0, reference=(4, 3))(ones, ones, tokens)
    assert torch.equal(turned[0, 0, 0], ones[0, 0, 0])
    for row in range(2):
        for column in range(3):
            found = turned[0, 0, 1 + 3 * row + column]
            for pair_of, angle in enumerate([row * 2.0, row * 2.0 / 10, column, column / 10]):
                assert abs(found[2 * pair_of] - (math.cos(angle) - math.sin(angle))) < 1e-12
                assert abs(found[2 * pair_of + 1] - (math.cos(angle) + math.sin(angle))) < 1e-12


def test_initial_learned_directions_are_orthogonal() -> None:
    frequencies = LearnedRotaryPositions(3, 16, base=10.0).frequencies.detach()
    first, second = frequencies.chunk(2, dim=-1)
    assert (first * second).sum(0).abs().max() < 1e-6
    lengths = 10.0 ** (-torch.arange(4) / 4)
    assert torch.allclose(torch.linalg.vector_norm(frequencies, dim=0), lengths.repeat(2).expand(3, 8))
