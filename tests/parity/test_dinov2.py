"""DINOv2, with and without registers, against timm and transformers."""

import math
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor

import vitrail
from vitrail.models.dinov2 import VARIANTS, DINOv2Config
from vitrail.models.registry import model_config

from .references import assert_same, assert_same_inside, count, loaded, on_meta, randomise

SMALL: dict[str, Any] = {"embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 9}
KINDS = pytest.mark.parametrize("kind", ["vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2"])
GIANTS = pytest.mark.parametrize("kind", ["vit_giant_patch14_dinov2", "vit_giant_patch14_reg4_dinov2"])


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    assert count(on_meta(lambda: vitrail.create_model(name))) == count(on_meta(lambda: timm.create_model(name)))


@KINDS
@pytest.mark.parametrize("size", [(56, 56), (70, 42), (14, 98)])
def test_timm_at_any_size(kind: str, size: tuple[int, int]) -> None:
    theirs = randomise(timm.create_model(kind, img_size=size, **SMALL))
    assert_same(loaded(model_config(kind, image_size=size, **SMALL), theirs), theirs, torch.randn(2, 3, *size))


@KINDS
def test_positions_are_resampled_as_in_timm(kind: str) -> None:
    theirs = randomise(timm.create_model(kind, img_size=56, dynamic_img_size=True, **SMALL))
    assert_same(loaded(model_config(kind, image_size=56, **SMALL), theirs), theirs, torch.randn(1, 3, 42, 84))


@GIANTS
@pytest.mark.parametrize("channels", [1, 13])
def test_gated_mlp_and_channels(kind: str, channels: int) -> None:
    theirs = randomise(timm.create_model(kind, img_size=42, in_chans=channels, **SMALL))
    config = model_config(kind, image_size=42, in_channels=channels, **SMALL)
    assert_same(loaded(config, theirs), theirs, torch.randn(2, channels, 42, 42))


@KINDS
def test_every_block_and_the_embedding_without_classes(kind: str) -> None:
    small = {**SMALL, "depth": 3, "num_classes": 0}
    theirs = randomise(timm.create_model(kind, img_size=56, **small))
    ours = loaded(model_config(kind, image_size=56, **small), theirs)
    pixels = torch.randn(1, 3, 56, 56)
    assert_same(ours, theirs, pixels)
    assert_same_inside(ours, theirs, {f"encoder.blocks.{i}": f"blocks.{i}" for i in range(3)}, pixels)


CARD: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "image_size": 56,
    "patch_size": 14,
    "num_labels": 9,
}


@pytest.mark.parametrize("registers", [0, 4])
@pytest.mark.parametrize("gated", [False, True])
def test_transformers(tmp_path: Path, registers: int, gated: bool) -> None:
    if registers:
        card = transformers.Dinov2WithRegistersConfig(**CARD, num_register_tokens=registers, use_swiglu_ffn=gated)
        theirs = randomise(transformers.Dinov2WithRegistersForImageClassification(card))
    else:
        card = transformers.Dinov2Config(**CARD, use_swiglu_ffn=gated)
        theirs = randomise(transformers.Dinov2ForImageClassification(card))
    config = DINOv2Config(
        image_size=56,
        registers=registers,
        gated_mlp=gated,
        mlp_ratio=8 / 3 if gated else 4,
        pool="both",
        position_antialias=bool(registers),
        **SMALL,
    )
    pixels = torch.randn(2, 3, 42, 70)
    assert_same(loaded(config, theirs), theirs, pixels)
    theirs.float().save_pretrained(tmp_path)  # under the names of the files on the hub
    assert_same(vitrail.load(tmp_path).model, theirs, pixels)


def test_transformers_without_a_classifier(tmp_path: Path) -> None:
    theirs = randomise(transformers.Dinov2WithRegistersModel(transformers.Dinov2WithRegistersConfig(**CARD)))
    theirs.save_pretrained(tmp_path)
    ours, pixels = vitrail.load(tmp_path).model, torch.randn(2, 3, 56, 56)
    with torch.no_grad():
        seen = theirs(pixels)
        assert (ours.forward_features(pixels).x - seen.last_hidden_state).abs().max() < 1e-5
        assert (ours(pixels) - seen.pooler_output).abs().max() < 1e-5


OFFICIAL = pytest.mark.parametrize("kind", ["vit_small_patch14_reg4_dinov2", "vit_giant_patch14_dinov2"])


@OFFICIAL
def test_official_names(kind: str, tmp_path: Path) -> None:
    """The released files have a position for the class token also where there are registers, and a mask token."""
    config = model_config(kind, image_size=56, class_position=True, **{**SMALL, "num_classes": 0})
    theirs = randomise(timm.create_model(kind, img_size=56, **{**SMALL, "num_classes": 0}))
    state = official(theirs, gated=config.gated_mlp)
    if config.registers:
        first, token = torch.randn(2, 1, 1, 48).mul(64).round().div(64)  # whose sum is exact
        state |= {"pos_embed": torch.cat([first, state["pos_embed"]], dim=1), "cls_token": token}
        theirs.cls_token.data = token + first
    pixels = torch.randn(2, 3, 56, 56)
    assert_same(loaded(config, state), theirs, pixels)
    save_file(state, tmp_path / "weights.safetensors")
    assert_same(vitrail.load(tmp_path / "weights.safetensors", num_heads=3).model, theirs, pixels)


def official(theirs: torch.nn.Module, *, gated: bool) -> dict[str, Tensor]:
    """timm's tensors under the names of the release, which also has a mask token."""
    names = {"mlp.fc1": "mlp.w12", "mlp.fc2": "mlp.w3"} if gated else {}
    state = {"mask_token": torch.randn(1, 48)}
    for name, tensor in theirs.state_dict().items():
        for old, new in {**names, "reg_token": "register_tokens"}.items():
            name = name.replace(old, new)
        state[name] = tensor
    return state


def cubic(distance: float) -> float:
    """The weight of a neighbour in bicubic interpolation (Keys, 1981, with a = -0.75)."""
    x = abs(distance)
    if x <= 1:
        return (1.25 * x - 2.25) * x * x + 1
    return ((-0.75 * x + 3.75) * x - 6) * x + 3 if x < 2 else 0.0


def line_of_the_release(length: int, new: int, place: int) -> list[float]:
    """How much each of `length` stored places gives to one of the new ones: the scale is (new + 0.1) / length."""
    centre = (place + 0.5) / ((new + 0.1) / length) - 0.5
    weights = [0.0] * length
    for neighbour in range(math.floor(centre) - 1, math.floor(centre) + 3):
        weights[min(max(neighbour, 0), length - 1)] += cubic(centre - neighbour)
    return weights


@OFFICIAL
def test_positions_are_resampled_as_in_the_release(kind: str, tmp_path: Path) -> None:
    """Without registers the scale is a little larger than the grids say, and nothing is low-passed; with them it is."""
    theirs = timm.create_model(kind, img_size=56, **{**SMALL, "num_classes": 0})
    state = official(randomise(theirs), gated="giant" in kind)
    registers = "reg4" in kind
    if registers:
        state["pos_embed"] = torch.cat([torch.randn(1, 1, 48), state["pos_embed"]], dim=1)
    save_file(state, tmp_path / "weights.safetensors")
    model = vitrail.load(tmp_path / "weights.safetensors", num_heads=3).model
    assert model.config.position_offset == (0.0 if registers else 0.1)
    assert model.config.position_antialias == registers
    table = state["pos_embed"][0, 1:].double().unflatten(0, (4, 4))
    rows, columns = (torch.tensor([line_of_the_release(4, new, i) for i in range(new)]).double() for new in (7, 3))
    expected = torch.einsum("ri,cj,ijd->rcd", rows, columns, table).flatten(0, 1)
    seen = model.embed.parts.positions.table((7, 3))[0, 1:].double()
    assert ((seen - expected).abs().max() < 1e-6) != registers
